"""What ends a run early, with a reason and nothing lost. A mixin of both trainers."""

import json
from pathlib import Path
from typing import Any

import torch

from overlay.errors import RunStopped
from overlay.training.heartbeat import Beats, Heartbeat


class Guards:
    """Mixin for transformers' Trainer: an orderly stop, a stop at a loss that is no number, and one when ranks wait for
    another for too long."""

    stop_reason: str | None = None
    heartbeat: Heartbeat | None = None

    def stop(self, reason: str) -> None:
        """Save a checkpoint after this step and end training with `reason`. Call it on every rank."""
        self.stop_reason = reason
        self.control.should_save = self.control.should_training_stop = True

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as the base does; raises RunStopped when the run was stopped."""
        self.heartbeat = Heartbeat(self.args.ddp_timeout)
        self.add_callback(Beats(self.heartbeat))
        try:
            result = super().train(*args, **kwargs)
        finally:
            self.heartbeat.stop()
            self.remove_callback(Beats)
        if self.stop_reason:
            raise RunStopped(self.stop_reason)
        return result

    def beat(self, phase: str) -> None:
        """Tell the other ranks where this one stands; the same calls on every rank."""
        if self.heartbeat is not None:
            self.heartbeat.beat(phase)

    def training_step(self, model: torch.nn.Module, inputs: list[dict], *args: Any, **kwargs: Any) -> torch.Tensor:
        """The base's step; RunStopped before the optimizer sees a loss that is not finite. torchrun ends the other
        ranks with this one, and the last checkpoint is from before it."""
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss).all():
            raise RunStopped(
                f"loss {loss.item()} in step {self.state.global_step}: its rows are in {self._save_rows(inputs)}; the "
                "last checkpoint is good. Look at them (make rollouts), lower --learning_rate, or leave them out"
            )
        return loss

    def _save_rows(self, rows: list[dict]) -> Path:
        path = Path(self.args.output_dir) / f"bad_loss_rank{self.args.process_index:05d}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for row in rows:
                kept = {name: row.get(name) for name in ("source", "image_path", "problem", "solution")}
                file.write(json.dumps(kept, ensure_ascii=True) + "\n")
        return path
