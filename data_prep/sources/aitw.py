"""Android in the Wild (GZIP TFRecord, one step in each record) and Android in the Zoo (JSON beside its screens).

Both say what a finger did: touch and lift points as shares of the screen (y before x), a tap where they are at most
0.04 apart, else the finger's own path; and an action type by number.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from math import hypot
from pathlib import Path

from PIL import Image

from data_prep.sources.common import (
    Box,
    Episode,
    Report,
    SourceStep,
    point,
    read_json,
    records,
    size_of,
    written,
)  # fmt: skip
from overlay.data.images import encode
from overlay.errors import SourceError

TAP = 0.04
TYPE, GESTURE = 3, 4
PLAIN = {5: ("back", "", "Go back"), 10: ("task_completed", "", "Finish"), 11: ("task_impossible", "", "Give up")}
UNSAID = {6: "home", 7: "enter"}


def _step(
    screen: bytes, kind: int, text: str, touch: list[float], lift: list[float], elements: list[Box], said: str,
    report: Report,
) -> SourceStep:  # fmt: skip
    """One step; `touch` and `lift` are (y, x) shares, `said` the source's description where it has one."""
    width, height = size_of(screen)
    if kind in PLAIN:
        name, parameter, words = PLAIN[kind]
        return SourceStep(screen, name, parameter, said or words)
    if kind == TYPE:
        return SourceStep(screen, "type", text, said or f'Type "{text}"')
    if kind == GESTURE:
        (y1, x1), (y2, x2) = touch, lift
        if hypot(y2 - y1, x2 - x1) <= TAP:
            box = point(x1 * width, y1 * height, (width, height), elements, report)
            return SourceStep(screen, "click", box, said or "Tap")
        path = [min(max(v, 0), 1) for v in (x1, y1, x2, y2)]
        finger = written((path[0] * width, path[1] * height, path[2] * width, path[3] * height))
        return SourceStep(screen, "swipe", finger, said or "Swipe")
    unsaid = UNSAID.get(kind, f"action type {kind}")
    return SourceStep(screen, description=said or unsaid.capitalize(), unsaid=unsaid)


def zoo(source: Path, report: Report) -> Iterator[Episode]:
    """Android in the Zoo: episodes of all `<episode>/<episode>.json` under a folder. A home or enter key is left out;
    `coat_action_desc` is the description, and the plan."""
    files = sorted(file for file in source.rglob("*.json") if file.stem == file.parent.name)
    if not files:
        raise SourceError(f"{source}: no <episode>/<episode>.json under it")
    for file in files:
        try:
            steps = sorted(read_json(file), key=lambda step: step["step_id"])
            made = [_zoo_step(step, file, report) for step in steps]
            yield Episode(file.stem, steps[0]["instruction"], "", [], made)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SourceError(f"{file}: not as Android in the Zoo documents it: {error!r}") from error


def _zoo_step(step: dict, file: Path, report: Report) -> SourceStep:
    image = file.parent / Path(step["image_path"]).name
    try:
        screen = image.read_bytes()
    except OSError as error:
        raise SourceError(f"{image}: {error.strerror}") from error
    boxes = [(x, y, x + w, y + h) for y, x, h, w in json.loads(step.get("ui_positions") or "[]")]
    return _step(
        screen, step["result_action_type"], step["result_action_text"], json.loads(step["result_touch_yx"]),
        json.loads(step["result_lift_yx"]), boxes, step.get("coat_action_desc", ""), report,
    )  # fmt: skip


def wild(source: Path, report: Report) -> Iterator[Episode]:
    """Android in the Wild: episodes of a TFRecord file, or of all files of a folder (steps of an episode stand
    together). Boxes are its own annotations (y, x, height, width, shares of the screen)."""
    files = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source}: no files")
    for file in files:
        try:
            for name, group in groupby(records(file), key=lambda record: record["episode_id"][0]):
                steps = sorted(group, key=lambda record: record["step_id"][0])
                goal = steps[0]["goal_info"][0].decode("utf-8")
                yield Episode(name.decode("utf-8"), goal, "", [], [_wild_step(step, report) for step in steps])
        except (KeyError, IndexError, ValueError) as error:
            raise SourceError(f"{file}: not as Android in the Wild documents it: {error!r}") from error


def _wild_step(record: dict[str, list], report: Report) -> SourceStep:
    width, height = record["image/width"][0], record["image/height"][0]
    screen = encode(Image.frombytes("RGB", (width, height), record["image/encoded"][0]), "png").data
    flat = record.get("image/ui_annotations_positions", [])
    boxes = [
        (x * width, y * height, (x + w) * width, (y + h) * height)
        for y, x, h, w in zip(*[iter(flat)] * 4, strict=False)
    ]  # fmt: skip
    return _step(
        screen, record["results/action_type"][0], record["results/type_action"][0].decode("utf-8"),
        record["results/yx_touch"], record["results/yx_lift"], boxes, "", report,
    )  # fmt: skip
