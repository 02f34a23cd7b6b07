"""What ends a run early, with a reason and nothing lost."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl

from overlay.errors import RunStopped

KEPT = ("source", "image_path", "problem", "solution")


class Stop(TrainerCallback):
    """An orderly end: call it with a reason, on every rank, and after this step a checkpoint is saved and training
    ends."""

    reason: str | None = None

    def __call__(self, reason: str) -> None:
        self.reason = self.reason or reason

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        if self.reason:
            control.should_save = control.should_training_stop = True

    on_evaluate = on_step_end  # an evaluation asks the judge too


def refuse(what: str, value: torch.Tensor, rows: list[dict], step: int, output_dir: str, rank: int) -> None:
    """RunStopped when a loss or a gradient's norm (`what`) is not finite: with the rows in a file, before the optimizer
    (DeepSpeed's own has stepped by then) and before any checkpoint. torchrun ends the other ranks with this one."""
    if torch.isfinite(value).all():
        return
    path = Path(output_dir) / f"bad_loss_rank{rank:05d}.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({name: row.get(name) for name in KEPT}, ensure_ascii=True) + "\n")
    raise RunStopped(
        f"{what} {value.item()} in step {step}: its rows are in {path}; the last checkpoint is good. Look at them "
        "(make rollouts), lower --learning_rate, or leave them out"
    )
