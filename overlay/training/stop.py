"""What ends a run early, with a reason and nothing lost."""

import atexit
import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl

from overlay.errors import RunStopped

KEPT = ("source", "image_path", "problem", "solution")


def close_at_exit(engine: Any = None) -> None:
    """At the end of a run that ended well, close the process group before the interpreter goes, and before it vLLM's
    `engine` in this process, which would look for its groups in vain.

    Symptom: a finished run's rank aborted at exit once ("terminate called without an active exception": threads of
    groups that nobody had closed), its node reported a failure and a launcher would have repeated the run. After an
    error it stays open, for closing may wait for ranks that are gone. Calling it twice is harmless.
    """
    atexit.unregister(_close)
    atexit.register(_close, engine)


def _close(engine: Any) -> None:
    if engine is not None:
        engine.llm_engine.engine_core.shutdown()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


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
