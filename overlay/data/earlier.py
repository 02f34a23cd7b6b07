"""The screens of a task's earlier steps, from its folder of step files: what `--history_screens` shows, and where their
actions landed."""

import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from overlay.action.action import from_record
from overlay.prompt.crop import Point, landed
from overlay.prompt.template import SCREEN_FIELDS
from overlay.settings import MOST_EARLIER

STEP = re.compile(r"step_(\d+)\.json")


def step_files(task: Path) -> list[Path]:
    """A task's step files, by number."""
    found = [(int(m.group(1)), entry) for entry in os.listdir(task) if (m := STEP.fullmatch(entry))]
    return [task / name for _, name in sorted(found)]


@lru_cache(maxsize=4096)
def _screen(step: Path, _written: int) -> tuple[str, Point | None]:
    try:
        record = json.loads(step.read_text(encoding="utf-8"))
        names = [record["input"].get(name) for name in reversed(SCREEN_FIELDS)]
        point = landed(from_record(record.get("output")))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return "", None  # a broken step is reported where it is converted
    return next((name for name in names if isinstance(name, str) and name), ""), point


def earlier_screens(step: Path, shown: Sequence[str]) -> list[tuple[str, Point | None]]:
    """(name of the screen as its file has it, where its action landed in its pixels, if anywhere) of the steps before
    `step`, oldest first: each screen once, with its last action, without those that the step itself has `shown`, at
    most `MOST_EARLIER`. Empty for a file that is no step of a task folder."""
    before = step_files(step.parent)
    before = before[: before.index(step)] if step in before else []
    points = dict(_screen(file, os.stat(file).st_mtime_ns) for file in before)
    return [(name, point) for name, point in points.items() if name and name not in shown][-MOST_EARLIER:]
