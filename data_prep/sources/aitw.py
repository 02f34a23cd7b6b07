"""Android in the Wild (GZIP TFRecord, one step in each record) and the formats that come from it, JSON beside the
screens: Android in the Zoo and CAGUI, in whose form AgentCPM-GUI also writes AndroidControl and GUI-Odyssey.

All say what a finger did: touch and lift points as shares of the screen (y before x), a tap where they are at most 0.04
apart, else the finger's own path; and an action type by number. Elements of the first two are texts and icons that were
read off the screen, so a tap's box has at least `LEAST` of each side.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from math import hypot
from pathlib import Path

from PIL import Image

from data_prep.sources.common import (
    Episode,
    Reading,
    Report,
    Said,
    SourceStep,
    read_json,
    screenshot,
    size_of,
    swiped,
    tapped,
    typed,
)  # fmt: skip
from data_prep.sources.records import records
from overlay.action.action import Box
from overlay.data.images import encode
from overlay.errors import SourceError

TAP = 0.04
LEAST = 0.03  # of each side
LONG, WAIT, TYPE, GESTURE = 0, 1, 3, 4  # the first two in CAGUI
PLAIN = {5: "back", 10: "task_completed", 11: "task_impossible"}
UNSAID = {6: "home", 7: "enter"}


def _said(
    kind: int, text: str, touch: list[float], lift: list[float], size: tuple[int, int], elements: list[Box],
    report: Report, least: float = LEAST,
) -> Said:  # fmt: skip
    """One step's action; `touch` and `lift` are (y, x) shares."""
    width, height = size
    if kind in PLAIN:
        return Said(PLAIN[kind])
    if kind == TYPE:
        return typed(text)
    if kind == GESTURE:
        (y1, x1), (y2, x2) = touch, lift
        if hypot(y2 - y1, x2 - x1) <= TAP:
            return tapped(x1 * width, y1 * height, size, elements, report, least=least)
        return swiped((x1 * width, y1 * height, x2 * width, y2 * height), size)
    return Said(unsaid=UNSAID.get(kind, f"action type {kind}"))


def _episodes(source: Path, reading: Reading, words: str, least: float) -> Iterator[Episode]:
    files = sorted(file for file in source.rglob("*.json") if file.stem == file.parent.name)
    if not files:
        raise SourceError(f"{source}: no <episode>/<episode>.json under it")
    for file in files:
        if reading.wants(file.stem):
            yield from reading.attempt(file, lambda file=file: _episode(file, reading.report, words, least))


def zoo(source: Path, reading: Reading) -> Iterator[Episode]:
    """Android in the Zoo: episodes of all `<part>/<episode>/<episode>.json` under a folder. A home or enter key is left
    out; `coat_action_desc` is the description, and the plan."""
    return _episodes(source, reading, "coat_action_desc", LEAST)


def cagui(source: Path, reading: Reading) -> Iterator[Episode]:
    """CAGUI's agent part: `domestic/<episode>/<episode>.json`, whose elements are those of the app. Long presses and
    waits have numbers of their own."""
    return _episodes(source, reading, "low_instruction", 0)


def _episode(file: Path, report: Report, words: str, least: float) -> Episode:
    steps = sorted(read_json(file), key=lambda step: int(step["step_id"]))
    made = [_step(step, file, report, words, least) for step in steps]
    task = steps[0]["instruction"]
    language = "zh" if any("\u4e00" <= character <= "\u9fff" for character in task) else "en"
    return Episode(file.stem, task, "", None, made, file.parent.parent.name, language)


def _step(step: dict, file: Path, report: Report, words: str, least: float) -> SourceStep:
    named = [f"{file.stem}_{step['step_id']}{kind}" for kind in (".jpeg", ".png", ".jpg")]
    screen = screenshot([step["image_path"], *named], file.parent)
    width, height = size = size_of(screen)
    boxes = json.loads(step.get("ui_positions") or "[]")
    if "image_width" in step:  # as AgentCPM-GUI writes them: shares of the screen
        boxes = [(y * height, x * width, h * height, w * width) for y, x, h, w in boxes]
    elements = [(x, y, x + w, y + h) for y, x, h, w in boxes]
    touch, lift = json.loads(step["result_touch_yx"]), json.loads(step["result_lift_yx"])
    kind, text = step["result_action_type"], step["result_action_text"]
    if kind == LONG:
        said = tapped(touch[1] * width, touch[0] * height, size, elements, report, "long_click", least)
    else:
        said = Said("wait") if kind == WAIT else _said(kind, text, touch, lift, size, elements, report, least)
    return SourceStep(screen, said, step.get(words) or "", elements)


def wild(source: Path, reading: Reading) -> Iterator[Episode]:
    """Android in the Wild: episodes of a TFRecord file, or of all files of a folder (steps of an episode stand
    together). Boxes are its own annotations (y, x, height, width, shares of the screen)."""
    files = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source}: no files")
    for file in files:
        read = records(file, reading.report)
        for number, (_, group) in enumerate(groupby(read, key=lambda record: record.get("episode_id")), 1):
            steps = list(group)
            yield from reading.attempt(f"{file}: episode {number}", lambda steps=steps: _wild_episode(steps, reading))


def _wild_episode(steps: list[dict[str, list]], reading: Reading) -> Episode | None:
    name = steps[0]["episode_id"][0].decode("utf-8")
    if not reading.wants(name):
        return None
    steps.sort(key=lambda record: record["step_id"][0])
    goal = steps[0]["goal_info"][0].decode("utf-8")
    return Episode(name, goal, "", None, [_wild_step(step, reading.report) for step in steps])


def _wild_step(record: dict[str, list], report: Report) -> SourceStep:
    width, height = size = record["image/width"][0], record["image/height"][0]
    screen = encode(Image.frombytes("RGB", size, record["image/encoded"][0]), "png").data
    flat = record.get("image/ui_annotations_positions", [])
    boxes = [
        (x * width, y * height, (x + w) * width, (y + h) * height)
        for y, x, h, w in zip(*[iter(flat)] * 4, strict=False)
    ]  # fmt: skip
    said = _said(
        record["results/action_type"][0], record["results/type_action"][0].decode("utf-8"),
        record["results/yx_touch"], record["results/yx_lift"], size, boxes, report,
    )  # fmt: skip
    return SourceStep(screen, said, "", boxes)
