"""What a page of data files counts: a record of each good row, problems by kind, what two files share."""

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

from tqdm import tqdm

from data_prep.check import Tally, check_chunk, chunks
from overlay.action.action import BOX_TYPES, parse_action
from overlay.data.images import size_of
from overlay.data.parallel import ordered_map
from overlay.data.rows import parse_row
from overlay.prompt.template import step_input

SHOWN = 3  # examples of a kind


@dataclass(frozen=True)
class Row:
    """A good row. `box`: (width, height) of the gold box in pixels, `screen`: of the current screen; `sizes`: of its
    images; `content`: digest of question, screens' paths and right answers."""

    line: int
    content: str
    asked: str
    type: str
    images: tuple[str, ...]
    screen: tuple[int, int] | None
    box: tuple[float, float] | None
    characters: int
    gold_characters: int
    sizes: tuple[tuple[int, int], ...]


@dataclass
class DataFile:
    """A data file with its image folder: counts and problems as `make data-check` has them, and its good rows."""

    path: Path
    folder: Path
    tally: Tally
    rows: list[Row]


def row_of(number: int, line: bytes, folder: Path) -> Row:
    """The record of a row that `check_chunk` finds nothing wrong with."""
    row = parse_row(line)
    sizes = [size_of(str(folder / path)) for path in row["image"]]
    gold = parse_action(row["solution"])
    corners = gold.coordinates if gold and gold.type in BOX_TYPES else None
    box = (corners[2] - corners[0], corners[3] - corners[1]) if corners and len(corners) == 4 else None
    parts = json.dumps([row["problem"], row["image"], row["solution"], *row["also"]])
    return Row(
        number, hashlib.sha256(parts.encode(errors="replace")).hexdigest()[:24],
        str(step_input(row["problem"])[1].get("task_content") or ""), gold.type if gold else "(not an action)",
        tuple(os.path.abspath(folder / path) for path in row["image"]), sizes[-1] if sizes else None, box,
        len(row["problem"]), len(row["solution"]), tuple(sizes),
    )  # fmt: skip


def _chunk(lines: list[tuple[int, bytes]], folder: Path, decode: bool) -> tuple[Tally, list[Row]]:
    tally = check_chunk(lines, folder, decode)
    broken = {number for number, _ in tally.problems}
    found = (row_of(number, line, folder) for number, line in lines if line.strip() and number not in broken)
    return tally, list(found)


def read(path: Path, folder: Path, workers: int, decode: bool) -> DataFile:
    """All that is counted of a file."""
    read = DataFile(path, folder, Tally(), [])
    with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name, delay=2) as progress:
        work = partial(_chunk, folder=folder, decode=decode)
        for tally, rows in ordered_map(work, chunks(path, progress), workers):
            read.tally.add(tally)
            read.rows += rows
    return read


def by_kind(problems: Iterable[tuple[int, str]]) -> list[tuple[str, int, list[str]]]:
    """(kind, how many, the first examples with their lines) of problems, the commonest first. A kind is a reason
    without what belongs to the row: quotes, paths, numbers."""
    found: dict[str, list[str]] = defaultdict(list)
    for line, reason in problems:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"|\S*/\S*", "…", reason)
        found[re.sub(r"-?\d+(\.\d+)?", "n", bare)[:160]].append(f"line {line}: {reason[:300]}")
    kinds = sorted(found.items(), key=lambda item: -len(item[1]))
    return [(kind, len(lines), lines[:SHOWN]) for kind, lines in kinds]


def shared(files: list[DataFile]) -> list[dict[str, object]]:
    """What each two files share, and each has twice: rows, tasks by their text, image files, images of the same
    bytes. Records of what, files, count, examples."""
    found = []
    for one, other in combinations(files, 2):
        ways: list[tuple[str, Callable[[Row], Iterable[str]]]] = [
            ("rows: question, screens and gold", lambda row: [row.content]),
            ("task texts", lambda row: [row.asked] if row.asked else []),
            ("image files", lambda row: row.images),
        ]
        for what, keys in ways:
            first, second = ({key: row.line for row in each.rows for key in keys(row)} for each in (one, other))
            both = [key for key in first if key in second]
            found.append(_record(what, one, other, [(first[key], second[key]) for key in both]))
        found.append(_record("images of the same bytes in other files", one, other, _same_bytes(one, other)))
    for each in files:
        counts = Counter(row.content for row in each.rows)
        twice = [row.line for row in each.rows if counts[row.content] > 1]
        found.append({"what": "rows that it has twice", "files": each.path.name, "count": sum(counts.values())
                      - len(counts), "examples": ", ".join(f"line {line}" for line in twice[:SHOWN])})  # fmt: skip
    return found


def _record(what: str, one: DataFile, other: DataFile, lines: list[tuple[int, int]]) -> dict[str, object]:
    files = f"{one.path.name} and {other.path.name}"
    examples = ", ".join(f"lines {first} and {second}" for first, second in lines[:SHOWN])
    return {"what": what, "files": files, "count": len(lines), "examples": examples}


def _same_bytes(one: DataFile, other: DataFile) -> list[tuple[int, int]]:
    """Lines with images of the same content under different names. Only images of the same number of bytes are read."""
    places = [{path: row.line for row in each.rows for path in row.images} for each in (one, other)]
    alone = [[path for path in each if path not in other] for each, other in (places, places[::-1])]
    own = [{path: Path(path).stat().st_size for path in paths} for paths in alone]
    sizes = set(own[0].values()) & set(own[1].values())
    digests: list[dict[str, int]] = []
    for n, each in enumerate(own):
        read = {path for path, size in each.items() if size in sizes}
        digests.append({hashlib.sha256(Path(path).read_bytes()).hexdigest(): places[n][path] for path in sorted(read)})
    return [(digests[0][key], digests[1][key]) for key in digests[0] if key in digests[1]]
