"""Completions that are trained on more than once, in the checkpoint that falls between.

A batch is generated once and used for --num_iterations steps, or for several steps of a larger
--steps_per_generation. A resume in the middle of that must go on with the same completions: without them TRL generates
others, and VLM-R1 has nothing to train on.
"""

from pathlib import Path
from typing import Any

import torch

from overlay.errors import SettingError

SIZES = ("world_size", "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation",
         "num_iterations", "num_generations")  # fmt: skip


class Buffer:
    """The trainer's own counter of micro-steps and its buffered batches. `rank`: this process's number."""

    def __init__(self, trainer: Any, rank: int):
        self.trainer, self.rank = trainer, rank
        self.sizes = {name: getattr(trainer.args, name, None) for name in SIZES}

    def file(self, checkpoint: Path) -> Path:
        """This rank's part of a checkpoint."""
        return checkpoint / f"buffer_rank{self.rank:05d}.pt"

    def save(self, checkpoint: Path) -> None:
        """Write it, on every rank; without batches when the next step generates."""
        batches = self.trainer._buffered_inputs if self.trainer.reuses_batch() else None
        checkpoint.mkdir(parents=True, exist_ok=True)
        torch.save({"step": self.trainer._step, "batches": batches, "sizes": self.sizes}, self.file(checkpoint))

    def load(self, checkpoint: Path) -> None:
        """Go on from there; a checkpoint from before there was one, or of another size (which is meant), starts a new
        batch. SettingError where that one lies in the middle of a batch."""
        if not self.file(checkpoint).is_file():
            return
        kept = torch.load(self.file(checkpoint), map_location="cpu", weights_only=True)
        if kept["sizes"] != self.sizes:
            if kept["batches"] is not None:
                raise SettingError(
                    f"{checkpoint} lies in the middle of a batch of other sizes (processes, batch, accumulation, "
                    "iterations, generations): go on from an earlier one with --resume_from_checkpoint and another "
                    "--output_dir, or with the sizes that it has"
                )
            return
        self.trainer._step = kept["step"]
        if kept["batches"] is not None:
            self.trainer._buffered_inputs = moved(kept["batches"], self.trainer.accelerator.device)


def moved(value: Any, device: torch.device) -> Any:
    """Tensors in lists and dictionaries however deep, on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: moved(part, device) for name, part in value.items()}
    return [moved(part, device) for part in value] if isinstance(value, list) else value
