"""GUI-Odyssey (hflqf88888/GUIOdyssey, OpenGVLab/GUI-Odyssey): `annotations/<episode>.json` and `screenshots/`.

Coordinates are 0 to 1000 of each side. A click's box, and its element, is `sam2_bbox` where the release has it. The
plan is `low_level_instruction`, the group the task's category, which the published score is averaged over.
"""

from collections.abc import Iterator
from pathlib import Path

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
from overlay.action.action import Box
from overlay.errors import SourceError

KEYS = {"KEY_BACK": Said("back"), "KEY_HOME": Said(unsaid="home"), "KEY_APPSELECT": Said(unsaid="recent apps")}
PLAIN = {"COMPLETE": Said("task_completed"), "INCOMPLETE": Said("task_impossible")}


def episodes(source: Path, reading: Reading) -> Iterator[Episode]:
    """Episodes of the dataset's folder, its `data` folder or its annotations."""
    places = [folder for folder in (source / "annotations", source / "data" / "annotations", source) if folder.is_dir()]
    files = next((found for folder in places if (found := sorted(folder.glob("*.json")))), [])
    if not files:
        raise SourceError(f"{source}: no annotations/*.json in it")
    screens = files[0].parent.parent / "screenshots"
    for file in files:
        if reading.wants(file.stem):
            yield from reading.attempt(file, lambda file=file: _episode(read_json(file), screens, reading.report))


def _episode(record: dict, screens: Path, report: Report) -> Episode:
    task = record["task_info"]
    steps = []
    for step in record["steps"]:
        screen = screenshot([step["screenshot"]], screens)
        size = size_of(screen)
        box = _pixels(step.get("sam2_bbox") or [], size)
        elements = [box] if len(box) == 4 else []
        said = _said(step, size, elements, report)
        known = said.kind in ("click", "long_click") and "sam2_bbox" in step
        steps.append(SourceStep(screen, said, step.get("low_level_instruction") or "", elements if known else None))
    return Episode(
        str(record["episode_id"]), task["instruction"], ", ".join(task.get("app") or []), None, steps,
        task.get("category") or "",
    )  # fmt: skip


def _pixels(numbers: list[float], size: tuple[int, int]) -> Box:
    return tuple(number / 1000 * size[i % 2] for i, number in enumerate(numbers))  # pyright: ignore[reportReturnType]


def _said(step: dict, size: tuple[int, int], elements: list[Box], report: Report) -> Said:
    kind, info = step["action"], step["info"]
    if kind in ("CLICK", "LONG_PRESS"):
        if isinstance(info, str):
            return KEYS.get(info, Said(unsaid=f"key {info}"))
        x, y = _pixels(info[0], size)[:2]
        return tapped(x, y, size, elements, report, "click" if kind == "CLICK" else "long_click")
    if kind == "SCROLL":
        return swiped(_pixels([*info[0], *info[1]], size), size)
    if kind in ("TEXT", "TYPE"):
        return typed(info)
    return PLAIN.get(kind, Said(unsaid=kind))
