"""Completions that are trained on more than once, in the checkpoint that falls between.

A batch is generated once and used for --num_iterations steps, or for several steps of a larger --steps_per_generation.
A resume in the middle of that must go on with the same completions: without them TRL generates others, and VLM-R1 has
nothing to train on.
"""

from pathlib import Path
from typing import Any

import torch


class Buffer:
    """The trainer's own counter of micro-steps and its buffered batches. `rank`: this process's number."""

    def __init__(self, trainer: Any, rank: int):
        self.trainer, self.rank = trainer, rank

    def file(self, checkpoint: Path) -> Path:
        """This rank's part of a checkpoint."""
        return checkpoint / f"buffer_rank{self.rank:05d}.pt"

    def save(self, checkpoint: Path) -> None:
        """Write it, on every rank; without batches when the next step generates."""
        half_used = self.trainer.reuses_batch()
        batches = self.trainer._buffered_inputs if half_used else None
        torch.save({"step": self.trainer._step, "batches": batches}, self.file(checkpoint))

    def load(self, checkpoint: Path) -> None:
        """Go on from there; a checkpoint from before there was one starts a new batch."""
        if not self.file(checkpoint).is_file():
            return
        kept = torch.load(self.file(checkpoint), map_location=self.trainer.accelerator.device, weights_only=True)
        self.trainer._step = kept["step"]
        if kept["batches"] is not None:
            self.trainer._buffered_inputs = kept["batches"]
