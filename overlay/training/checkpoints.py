"""Checkpoints that are whole or not there.

Trainer writes file by file into `checkpoint-<step>`, and a resume takes the newest folder of that name, cut short or
not. Here they are written into `.saving` and renamed when every rank is done; older ones are deleted only then.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

from safetensors import SafetensorError
from transformers import TrainerState, TrainingArguments, trainer_utils
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from overlay.errors import RunStopped, SettingError

ASIDE = ".saving"
PARTS = "overlay_state.json"  # in a checkpoint: state of the parts below, by name
FULL, LEFT = "No space left on device", 1 << 20  # bytes


@contextmanager
def readable(checkpoint: str | None) -> Iterator[None]:
    """SettingError for a checkpoint whose files hold anything but tensors and plain values: loading runs none of it."""
    try:
        yield
    except UnpicklingError as error:
        raise SettingError(
            f"{checkpoint} cannot be read, it is damaged or holds what no checkpoint of ours does: go on from another "
            f"({str(error).splitlines()[0]})"
        ) from error


class Stateful(Protocol):
    """A part of the training with state that a resume needs."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def last_checkpoint(output_dir: str | None) -> str | None:
    """The newest checkpoint in output_dir, or None."""
    return get_last_checkpoint(output_dir) if output_dir and Path(output_dir).is_dir() else None


class Checkpoints:
    """The checkpoints of one run. `barrier` waits for all ranks. `additions`: functions that write more into one,
    called on every rank with its folder; `parts`: what has state, the same on every rank."""

    def __init__(self, args: TrainingArguments, barrier: Callable[[], None]):
        self.args, self.barrier = args, barrier
        self.additions: list[Callable[[Path], None]] = []
        self.parts: dict[str, Stateful] = {}
        self.resumed_from: str | None = None
        self._aside = False

    def start(self, asked: str | bool | None, deepspeed: bool) -> str | None:
        """Where the run starts; says so, and what a resume will lack.

        `asked` True or None: the newest checkpoint in output_dir, so that a restart goes on from there; where there is
        none, --resume_from_checkpoint; where that is not given either, from the start (None).
        """
        if asked in (True, None):
            asked = last_checkpoint(self.args.output_dir) or self.args.resume_from_checkpoint
        self.resumed_from = str(asked) if asked else None
        if self.resumed_from:
            if not Path(self.resumed_from).is_dir():
                raise SettingError(f"--resume_from_checkpoint {self.resumed_from}: no such folder")
            file = Path(self.resumed_from) / PARTS
            states = json.loads(file.read_text()) if file.is_file() else {}
            for name, state in states.items():
                if name in self.parts:
                    self.parts[name].load_state_dict(state)
        if self.args.process_index == 0:
            if self.resumed_from:
                print(f"resuming from {self.resumed_from}", file=sys.stderr)
            if self.args.save_only_model and self.args.save_strategy != "no":
                then = "cannot resume" if deepspeed else "resumes with a fresh optimizer and schedule"
                print(f"--save_only_model true: no optimizer is saved; a run that ends early {then}", file=sys.stderr)
        return self.resumed_from

    def folder(self, usual: str) -> str:
        """Where Trainer writes instead of into the `usual` folder."""
        return str(Path(usual) / ASIDE) if self._aside else usual

    def save(self, root: Path, state: TrainerState, write: Callable[[], None], trainer: Any = None) -> None:
        """Write one: `write` is Trainer's own way, into `folder`; then delete old ones below `root` (before
        transformers 5 by a method of the `trainer`)."""
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        staged, whole = root / ASIDE / name, root / name
        if self.args.should_save:
            shutil.rmtree(root / ASIDE, ignore_errors=True)
        self.barrier()
        self._aside = True
        try:
            write()
            for add in self.additions:
                add(staged)
            if self.args.should_save:
                states = {name: part.state_dict() for name, part in self.parts.items()}
                (staged / PARTS).write_text(json.dumps(states))
            if state.best_model_checkpoint == str(staged):
                state.best_model_checkpoint = str(whole)  # on every rank: each looks for it at the end
                if self.args.should_save:
                    state.save_to_json(str(staged / "trainer_state.json"))
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
        if self.args.should_save and hasattr(trainer_utils, "rotate_checkpoints"):
            best = state.best_model_checkpoint
            trainer_utils.rotate_checkpoints(str(root), self.args.save_total_limit, best, use_mtime=True)
        elif self.args.should_save:
            trainer._rotate_checkpoints(use_mtime=True, output_dir=str(root))

    def _publish(self, staged: Path, whole: Path) -> None:
        """Rename when every rank has written its part: rank 0 first, then nodes that have a disk of their own."""
        for turn in (self.args.process_index == 0, self.args.local_process_index == 0):
            self.barrier()
            if turn:
                publish(staged, whole)
        self.barrier()


def publish(staged: Path, whole: Path) -> None:
    """Rename a written checkpoint to its name. What a directory listing says is not asked: on a shared disk another
    node may still see there what is gone, and what stands under the name may be what it has just published."""
    try:
        try:
            staged.rename(whole)
        except (FileExistsError, OSError) as error:
            if isinstance(error, FileNotFoundError) or not staged.is_dir():
                return  # published already
            before = staged.with_name(staged.name + ".before")  # of the same step, from before a resume
            whole.rename(before)
            staged.rename(whole)
            shutil.rmtree(before, ignore_errors=True)
        staged.parent.rmdir()
    except FileNotFoundError:
        return
