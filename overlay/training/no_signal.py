"""Rows whose completions all got the same reward: no advantage, no gradient. Reported when their epoch ends.

`output_dir/no_signal/epoch<n>.jsonl` names each of the epoch with its reward. A row that was asked for more than once
is listed when it taught nothing at any time.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from overlay.training.refill import is_dull

FOLDER = "no_signal"
FILE = "no_signal_rank{:05d}.json"  # in a checkpoint


class NoSignal(TrainerCallback):
    """This rank's rows of the epoch under way. `gather`: a list on each rank → that of all, in one."""

    def __init__(self, args: Any, gather: Callable[[list], list]):
        self.args, self.gather = args, gather
        self.epoch = 0
        self.seen: dict[str, float | None] = {}  # source → the reward of all its completions, None where they differ

    def note(
        self, rows: list[dict[str, Any]], rewards: torch.Tensor, own: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """A batch of this rank's `rows`, and rewards (groups, completions) of all ranks, NaN for none; `own`: of what
        all ranks' completions have (B,) that of this rank's."""
        flat = own(is_dull(rewards).repeat_interleave(rewards.size(1))).tolist()
        for row, dull, reward in zip(rows, flat, own(rewards.flatten()).tolist(), strict=True):
            if math.isnan(reward):  # nobody judged it
                continue
            source = str(row.get("source"))
            self.seen[source] = reward if dull and self.seen.get(source, reward) is not None else None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A run that goes on from an epoch's last step reports it now."""
        if self.epoch != (epoch := int(state.epoch or 0)):
            self._finish()
        self.epoch = epoch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._finish()

    def _finish(self) -> None:
        merged: dict[str, float | None] = {}
        for source, reward in self.gather(list(self.seen.items())):
            merged[source] = reward if reward is not None and merged.get(source, reward) is not None else None
        self.seen = {}
        if merged and self.args.process_index == 0:
            self._report(merged)

    def _report(self, merged: dict[str, float | None]) -> None:
        flat = sorted((reward, source) for source, reward in merged.items() if reward is not None)
        file = Path(self.args.output_dir) / FOLDER / f"epoch{self.epoch + 1}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"source": source, "reward": reward}) + "\n" for reward, source in flat)
        file.write_text("".join(lines), encoding="utf-8")
        told = f"epoch {self.epoch + 1}: {len(flat):,} of {len(merged):,} rows had no signal (equal rewards)"
        if flat:
            told += f", rewards {flat[0][0]:g} to {flat[-1][0]:g}: {file} lists them"
        print(told, file=sys.stderr)

    def save(self, checkpoint: Path) -> None:
        """This rank's part of a checkpoint."""
        state = {"epoch": self.epoch, "seen": self.seen}
        (checkpoint / FILE.format(self.args.process_index)).write_text(json.dumps(state), encoding="utf-8")

    def load(self, checkpoint: Path) -> None:
        """Go on from there; the parts of ranks that are no more are shared out."""
        files = sorted(checkpoint.glob(FILE.split("{")[0] + "*.json"))
        states = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        for state in states[self.args.process_index :: self.args.world_size]:
            self.seen.update(state["seen"])
        self.epoch = states[0]["epoch"] if states else 0
