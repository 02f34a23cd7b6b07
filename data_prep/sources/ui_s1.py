"""AndroidControl as UI-S1 publishes it (X-PLUG/MobileAgent, `UI-S1/datasets/*.jsonl`): an episode on each line, screens
as `images/<episode>_<step>.png` beside it. Its evaluation file is the one whose 8,444 steps recent scores are given on.

A click's box is the smallest of its `candidate_bbox` or `bbox`; these boxes are the elements. A swipe is the finger's.
Further right actions are those that its evaluation takes for right: a click on one of the other candidates, which do
not hold the tap, and on the app's icon where an app is to be opened.
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
    written,
)  # fmt: skip
from data_prep.sources.tree import on_screen
from overlay.action.action import Box, contains
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
        size = size_of(screen)
        said = _said(action, size, elements, reading.report)
        app = said.parameter if said.kind == "open_app" else app
        known = said.kind in ("click", "long_click") and ("bbox" in action or "check_options" in step)
        icons = elements if said.kind == "open_app" and "check_options" in step else None
        words = step.get("step_instruction") or ""
        also = _also(said, on_screen(elements, size)) if "check_options" in step else []
        steps.append(SourceStep(screen, said, words, elements if known else None, candidates=icons, also=also))
    return Episode(name, record["goal"], app, None, steps)


def _also(said: Said, boxes: list[list[int]]) -> list[Said]:
    kind = "long_click" if said.kind == "long_click" else "click"
    if said.kind not in ("click", "long_click", "open_app"):
        return []
    return [
        Said(kind, written(tuple(box)))
        for box in boxes
        if said.tap is None or not contains((box[0], box[1], box[2], box[3]), *said.tap)
    ]


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
