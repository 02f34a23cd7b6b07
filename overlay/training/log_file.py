"""Everything that a run logs, in one file that only grows at its end; what a checkpoint repeats of it is bounded.

Symptom: Trainer keeps all entries in memory and writes them anew into every checkpoint's trainer_state.json: 889 bytes
a logged step, 149 MB a checkpoint at step 167,300. A resume needs none of them, nor does the choice of the best.
"""

import errno
import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from overlay.errors import RunStopped
from overlay.training.run_files import LOG as NAME

KEPT = 1000  # newest entries in memory and in trainer_state.json


class LogFile(TrainerCallback):
    """`output_dir/log.jsonl`: each entry a line (step, epoch, metrics, and time in seconds since 1970), by rank 0."""

    def __init__(self, output_dir: str):
        self.file = Path(output_dir, NAME)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take out what is after the step that the run goes on from: it comes again."""
        if not state.is_world_process_zero:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(".tmp")
        with open(aside, "w", encoding="utf-8") as kept:
            if state.global_step and self.file.is_file():
                with open(self.file, encoding="utf-8", errors="replace") as lines:
                    kept.writelines(line for line in lines if _step(line) <= state.global_step)
        aside.replace(self.file)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero and state.log_history:
            entry = {**state.log_history[-1], "time": round(time.time(), 2)}
            try:
                with open(self.file, "a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise RunStopped(f"{self.file}: {error.strerror}. Make room, then start again") from error
        del state.log_history[:-KEPT]


def _step(line: str) -> float:
    """Of a line; one that a killed run cut short is after every step."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read(output_dir: str | Path) -> list[dict[str, Any]]:
    """All entries of a run, in order; without a last line that a killed run cut short."""
    with open(Path(output_dir, NAME), encoding="utf-8", errors="replace") as lines:
        return [json.loads(line) for line in lines if _step(line) != float("inf")]
