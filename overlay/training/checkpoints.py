"""Checkpoints that are whole or not there. A mixin of both trainers.

Trainer writes file by file into `checkpoint-<step>`, and a resume takes the newest folder of that name, cut short or
not. Here they are written into `.saving` and renamed when every rank is done; older ones are deleted only then.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from overlay.errors import RunStopped

try:
    from transformers.trainer_utils import rotate_checkpoints
except ImportError:  # transformers < 5: a method of Trainer
    rotate_checkpoints = None

ASIDE = ".saving"
FULL, LEFT = "No space left on device", 1 << 20  # bytes


def last_checkpoint(output_dir: str) -> str | None:
    """The newest checkpoint in output_dir, or None."""
    return get_last_checkpoint(output_dir) if Path(output_dir).is_dir() else None


class WholeCheckpoints:
    """Mixin for transformers' Trainer. `additions`: functions that write more into a checkpoint, called on every rank
    with its folder."""

    _aside = False
    resumed_from: str | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        self.additions: list[Callable[[Path], None]] = []
        super().__init__(*args, **kwargs)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Train as the base does; says first where it starts and what a resume will lack.

        True or None: the newest checkpoint in output_dir, so that a restart goes on from there; where there is none,
        --resume_from_checkpoint; where that is not given either, from the start. `resumed_from` is the folder.
        """
        if resume_from_checkpoint in (True, None):
            resume_from_checkpoint = last_checkpoint(self.args.output_dir) or self.args.resume_from_checkpoint
        self.resumed_from = resume_from_checkpoint or None
        if self.resumed_from and self.is_world_process_zero():
            print(f"resuming from {self.resumed_from}", file=sys.stderr)
        if self.args.save_only_model and self.args.save_strategy != "no" and self.is_world_process_zero():
            then = "cannot resume" if self.is_deepspeed_enabled else "resumes with a fresh optimizer and schedule"
            print(f"--save_only_model true: no optimizer is saved; a run that ends early {then}", file=sys.stderr)
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / ASIDE) if self._aside else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        root = Path(super()._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        staged, whole = root / ASIDE / name, root / name
        if self.args.should_save:
            shutil.rmtree(root / ASIDE, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._aside = True
        try:
            super()._save_checkpoint(model, trial)
            for add in self.additions:
                add(staged)
            if self.args.should_save and self.state.best_model_checkpoint == str(staged):
                self.state.best_model_checkpoint = str(whole)
                self.state.save_to_json(str(staged / "trainer_state.json"))
        except (OSError, RuntimeError, SafetensorError) as error:
            # torch.save says nothing of the disk; what it wrote stays and fills it.
            if FULL not in str(error) and shutil.disk_usage(root).free > LEFT:
                raise
            shutil.rmtree(root / ASIDE, ignore_errors=True)
            kept = last_checkpoint(str(root)) or "no checkpoint"
            raise RunStopped(
                f"the disk is full: {whole} could not be written, {kept} is kept. Make room, then start again"
            ) from error
        finally:
            self._aside = False
        self._publish(staged, whole)
        if self.args.should_save and rotate_checkpoints is None:
            self._rotate_checkpoints(use_mtime=True, output_dir=str(root))
        elif self.args.should_save:
            rotate_checkpoints(str(root), self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True)

    def _publish(self, staged: Path, whole: Path) -> None:
        """Rename when every rank has written its part: rank 0 first, then nodes that have a disk of their own."""
        for turn in (self.is_world_process_zero(), self.is_local_process_zero()):
            self.accelerator.wait_for_everyone()
            if turn and staged.exists():
                shutil.rmtree(whole, ignore_errors=True)  # of the same step, from before a resume
                staged.rename(whole)
                staged.parent.rmdir()
        self.accelerator.wait_for_everyone()
