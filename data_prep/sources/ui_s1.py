"""AndroidControl as UI-S1 publishes it (X-PLUG/MobileAgent, `UI-S1/datasets/*.jsonl`): an episode on each line, screens
as `images/<episode>_<step>.png` beside it. Its evaluation file is the one whose 8,444 steps recent scores are given on.

A click's box is the smallest of its `candidate_bbox` or `bbox`; these boxes are the elements. A swipe is the finger's.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.sources.common import (
    Episode,
    Reading,
    Report,
    Said,
    SourceStep,
    opened,
    screenshot,
    size_of,
    swiped,
    tapped,
    typed,
)  # fmt: skip
from overlay.action.action import Box
from overlay.errors import SourceError


def episodes(source: Path, reading: Reading) -> Iterator[Episode]:
    """Episodes of a JSON Lines file, or of all of a folder."""
    files = sorted(source.glob("*.jsonl")) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source}: no *.jsonl in it")
    yield from reading.lines(files, partial(_episode, reading))


def _episode(reading: Reading, record: dict, file: Path) -> Episode | None:
    name = str(record.get("episode_id", Path(record["steps"][0]["screenshot"]).stem.rpartition("_")[0]))
    if not reading.wants(name):
        return None
    steps, app = [], ""
    for step in record["steps"]:
        screen = screenshot([step["screenshot"]], file.parent, file.parent.parent)
        action, options = step["action_content"], step.get("check_options") or {}
        boxes = options.get("candidate_bbox") or ([action["bbox"]] if "bbox" in action else [])
        elements = [(box[0], box[1], box[2], box[3]) for box in boxes]
        said = _said(action, size_of(screen), elements, reading.report)
        app = said.parameter if said.kind == "open_app" else app
        known = said.kind in ("click", "long_click") and ("bbox" in action or "check_options" in step)
        icons = elements if said.kind == "open_app" and "check_options" in step else None
        words = step.get("step_instruction") or ""
        steps.append(SourceStep(screen, said, words, elements if known else None, candidates=icons))
    return Episode(name, record["goal"], app, None, steps)


def _said(action: dict, size: tuple[int, int], elements: list[Box], report: Report) -> Said:
    kind = action["action"]
    if kind in ("click", "long_press"):
        x, y = action["coordinate"]
        return tapped(x, y, size, elements, report, "click" if kind == "click" else "long_click")
    if kind == "swipe":
        (x1, y1), (x2, y2) = action["coordinate"], action["coordinate2"]
        return swiped((x1, y1, x2, y2), size)
    if kind == "type":
        return typed(action["text"])
    if kind == "open":
        return opened(action["text"])
    if kind == "terminate":
        return Said("task_completed" if action.get("status", "success") == "success" else "task_impossible")
    if kind == "system_button":
        return Said("back") if action["button"] == "Back" else Said(unsaid=f"button {action['button']}")
    return Said("wait") if kind == "wait" else Said(unsaid=kind)
