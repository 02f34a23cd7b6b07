"""Where a run stands, from the files that it writes: what the page asks for, again and again."""

import math
import time
from pathlib import Path
from typing import Any

from overlay.data.images import size_of
from overlay.errors import DataError
from overlay.pages.about import about, record_of
from overlay.pages.watch.answers import Answers
from overlay.pages.watch.curves import Log, panels
from overlay.training.rollout_file import FOLDER
from overlay.training.run_files import LOG, RECORD
from overlay.training.stopped import earlier

QUIET = 60.0  # seconds without a sign of life that need no word, whatever the pace
LOADING = 600.0  # before the first step: models load, data is read
PATIENCE = 5  # logged steps


def size_or_none(path: str) -> tuple[int, int] | None:
    """(width, height) in pixels of an image, None where its file is gone or broken."""
    try:
        return size_of(path)
    except DataError:
        return None


def last_sign(folder: Path) -> float | None:
    """When the run last wrote anything (seconds since 1970): its log, its rollouts, its record, a checkpoint."""
    paths = [folder / LOG, folder / RECORD, *folder.glob(f"{FOLDER}/rank*.jsonl"), *folder.glob("checkpoint-*")]
    times = []
    for path in [*paths, *folder.glob(".saving/*")]:
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # renamed meanwhile
            continue
    return max(times, default=None)


def steps_of(settings: dict[str, Any], log: Log) -> int | None:
    """Steps of the whole run: as set, or from the share of an epoch that the steps so far are; None before any."""
    if (settings.get("max_steps") or -1) > 0:
        return settings["max_steps"]
    epochs = settings.get("num_train_epochs")
    if not epochs or not log.step or not log.epoch:
        return None
    return max(log.step, math.ceil(round(log.step / log.epoch * epochs, 3)))


class Watched:
    """A run's output folder, which need not be there yet."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.answers = folder, Log(folder), Answers(folder)
        self.images: set[str] = set()  # paths on the page

    def look(self) -> dict[str, Any]:
        """All that the page shows, as JSON holds it."""
        record = record_of(self.folder)
        settings = record.get("settings", {})
        self.log.look()
        self.answers.look(settings)
        groups = self.answers.newest()
        screens = {path: size_or_none(path) for group in groups for path in group["images"]}
        self.images |= screens.keys()
        return {
            "run": self.folder.name,
            "state": self._state(record, settings),
            "about": about(record),
            "ranks": [{"rank": rank.number, "step": rank.step} for rank in self.answers.ranks.values()],
            "panels": list(panels({**self.answers.lines(), **self.log.lines})),
            "groups": groups,
            "screens": screens,
        }

    def _state(self, record: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """kind: waiting (nothing written yet), running, silent, stopped (with its reason), finished; step of how many,
        seconds a step takes and that are left."""
        step, total, pace = self.log.step, steps_of(settings, self.log), self.log.pace
        sign, stop, now = last_sign(self.folder), earlier(str(self.folder)), time.time()
        found: dict[str, Any] = {"kind": "running", "step": step, "of": total, "pace": pace}
        if sign is not None:
            found["age"] = max(0.0, now - sign)
        if record.get("finished") is not None:
            return found | {"kind": "finished", "step": record["finished"]}
        if stop is not None:
            return found | {"kind": "stopped", "reason": stop["reason"], "date": stop["date"]}
        if sign is None:
            return found | {"kind": "waiting"}
        patience = LOADING if pace is None else max(QUIET, PATIENCE * pace * self.log.between)
        if found["age"] > patience:
            return found | {"kind": "silent"}
        return found | ({"left": max(0, total - step) * pace} if total and pace else {})
