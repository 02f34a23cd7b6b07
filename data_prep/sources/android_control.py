"""AndroidControl (google-research/android_control): GZIP TFRecord files, one episode in each record.

Fields as its README has them: episode_id, goal, screenshots (PNG), accessibility_trees (of each screenshot), actions
(JSON; one fewer than screenshots), step_instructions. A click's box is the smallest element around it that takes a
finger, in the foremost window. An instruction that spans several steps is repeated for each, as published. The last
screen becomes `task_completed`. Where the foremost window has one button that is described as the way back, pressing it
and `back` stand for each other: the one that was not recorded is a further right action.
"""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from data_prep.sources.accessibility import Node, nodes
from data_prep.sources.common import (
    Episode,
    Reading,
    Report,
    Said,
    SourceStep,
    around,
    opened,
    scroll,
    size_of,
    tapped,
    typed,
    written,
)  # fmt: skip
from data_prep.sources.records import records
from overlay.action.action import Box, contains
from overlay.errors import SourceError

BACK = {
    "navigate up",
    "back",
    "go back",
    "返回",
    "转到上一层级",
    "向上导航",
}  # content descriptions, Android's own first


def episodes(source: Path, reading: Reading) -> Iterator[Episode]:
    """Episodes of a file, or of all `android_control*` files of a folder."""
    files = sorted(path for path in source.glob("android_control*") if path.is_file()) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source}: no android_control* files")
    for file in files:
        for number, record in enumerate(records(file, reading.report), 1):
            yield from reading.attempt(f"{file}: record {number}", lambda record=record: _episode(record, reading))


def _episode(record: dict[str, list], reading: Reading) -> Episode | None:
    name, goal = str(record["episode_id"][0]), record["goal"][0].decode("utf-8")
    if not reading.wants(name):
        return None
    actions = [json.loads(action) for action in record["actions"]]
    told = [text.decode("utf-8") for text in record["step_instructions"]]
    screens, trees = record["screenshots"], record.get("accessibility_trees", [])
    if len(screens) != len(actions) + 1:
        raise SourceError(f"{len(screens)} screenshots for {len(actions)} actions")
    steps, app = [], ""
    for screen, tree, action, text in zip_longest(screens, trees[: len(screens)], actions, told[: len(screens)]):
        if action is None:
            said, elements, text = Said("task_completed"), _elements(tree, reading.report), ""
        else:
            app = action.get("app_name", app)
            elements = _elements(tree, reading.report)
            said = _said(action, size_of(screen), elements or [], reading.report)
        boxes = None if elements is None else [node.box for node in elements]
        also = _ways_back(said, size_of(screen), elements or [])
        steps.append(SourceStep(screen, said, text or "", boxes, also=also))
    return Episode(name, goal, app, None, steps)


def _elements(tree: bytes | None, report: Report) -> list[Node] | None:
    try:
        return None if tree is None else nodes(tree)
    except ValueError:
        report.counts["accessibility trees that cannot be read"] += 1
        return None


def _target(x: float, y: float, size: tuple[int, int], elements: list[Node]) -> list[Box]:
    """The element of the foremost window that a finger at (x, y) meets, if one is known: first those that take one."""
    held = [node for node in elements if contains(node.box, x, y)]
    front = [node for node in held if node.layer == max(node.layer for node in held)]
    box = around(x, y, size, [node.box for node in front if node.touchable])
    box = box or around(x, y, size, [node.box for node in front])
    return [box] if box else []


def _ways_back(said: Said, size: tuple[int, int], elements: list[Node]) -> list[Said]:
    """What does as well as `said` where that is a way back: pressing the one button for it, or `back`."""
    front = max((node.layer for node in elements), default=0)
    named = [node for node in elements if node.description.strip().lower() in BACK and node.touchable]
    buttons = {node.box for node in named if node.layer == front}
    inside = [box for box in buttons if box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]]
    if len(buttons) != 1 or not inside:
        return []
    button = Said("click", written(inside[0]))
    if said.kind == "back":
        return [button]
    return [Said("back")] if (said.kind, said.parameter) == (button.kind, button.parameter) else []


def _said(action: dict, size: tuple[int, int], elements: list[Node], report: Report) -> Said:
    kind = action["action_type"]
    if kind in ("click", "long_press"):
        x, y = action["x"], action["y"]
        name = "click" if kind == "click" else "long_click"
        return tapped(x, y, size, _target(x, y, size, elements), report, name)
    if kind == "scroll":
        return Said("swipe", scroll(action["direction"], size))
    if kind in ("input_text", "type"):
        return typed(action["text"])
    if kind == "open_app":
        return opened(action.get("app_name", ""))
    return {"navigate_back": Said("back"), "wait": Said("wait")}.get(kind, Said(unsaid=kind))
