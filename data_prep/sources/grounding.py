"""Grounding benchmarks: one screen, one sentence, one box. Each row is a task of one click without plan or history.

- ScreenSpot and ScreenSpot-v2 (OS-Copilot/ScreenSpot-v2): `screenspot_<platform>[_v2].json`, boxes x, y, width, height.
- ScreenSpot-Pro (likaixin/ScreenSpot-Pro): `annotations/*.json`, boxes x1, y1, x2, y2, instructions in two languages.
- CAGUI's grounding part (openbmb/CAGUI): `code/cap.jsonl` and `ocr.jsonl`, boxes `<x1, y1, x2, y2>` in pixels.

The group is what the published tables have columns for: platform or field, and text or icon.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data_prep.sources.common import (
    Episode,
    Reading,
    Said,
    SourceStep,
    read_json,
    screenshot,
    size_of,
    written,
)  # fmt: skip
from overlay.action.action import Box
from overlay.errors import SourceError


def screenspot(source: Path, reading: Reading) -> Iterator[Episode]:
    """The tasks of a ScreenSpot, -v2 or -Pro folder, or of one of its JSON files."""
    files = [source] if source.is_file() else sorted([*source.glob("*.json"), *source.glob("annotations/*.json")])
    if not files:
        raise SourceError(f"{source}: no *.json and no annotations/*.json in it")
    for file in files:
        items = read_json(file)
        if not isinstance(items, list):
            reading.report.counts["files left out: no list of tasks"] += 1
            continue
        for number, item in enumerate(items, 1):
            where = f"{file}: task {number}"
            yield from reading.attempt(where, lambda file=file, item=item, n=number: _spot(file, item, n, reading))


def _spot(file: Path, item: dict, number: int, reading: Reading) -> Episode | None:
    name = str(item.get("id") or f"{file.stem}_{number}")
    if not reading.wants(name):
        return None
    screen = screenshot([item["img_filename"]], file.parent, file.parent.parent)
    a, b, c, d = item["bbox"]
    if "ui_type" in item:  # ScreenSpot-Pro
        task = (reading.language == "zh" and item.get("instruction_cn")) or item["instruction"]
        group = f"{item.get('group') or item['platform']} {item['ui_type']}"
        return _click(name, task, screen, (a, b, c, d), item["application"], group)
    platform = file.stem.removeprefix("screenspot_").removesuffix("_v2")
    return _click(
        name, item["instruction"], screen, (a, b, a + c, b + d), item.get("data_source", ""),
        f"{platform} {item['data_type']}",
    )  # fmt: skip


def cagui(source: Path, reading: Reading) -> Iterator[Episode]:
    """The tasks of CAGUI's `CAGUI_grounding` folder, or of one of its files."""
    files = [source] if source.is_file() else sorted([*source.glob("*.jsonl"), *source.glob("code/*.jsonl")])
    if not files:
        raise SourceError(f"{source}: no *.jsonl and no code/*.jsonl in it")
    yield from reading.lines(files, partial(_cagui, reading))


def _cagui(reading: Reading, item: dict, file: Path) -> Episode | None:
    name, image = f"{file.stem}_{item['id']}", Path(item["image"]).name
    if not reading.wants(name):
        return None
    screen = screenshot([f"images/{file.stem}/{image}", item["image"]], file.parent, file.parent.parent)
    x1, y1, x2, y2 = (float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", item["abs_position"]))
    return _click(name, item["text"], screen, (x1, y1, x2, y2), "", item["task"])


def _click(name: str, task: str, screen: bytes, box: Box, app: str, group: str) -> Episode:
    width, height = size_of(screen)
    cut = (max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3]))
    inside = round(cut[0]) < round(cut[2]) and round(cut[1]) < round(cut[3])
    said = Said("click", written(cut)) if inside else Said(unsaid="box outside its screenshot")
    return Episode(name, task, app, [], [SourceStep(screen, said, task, [box])], group)
