"""Build the Arrow shards of one data file, in parallel over byte ranges. No torch, no datasets: workers start fast."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from overlay.data.parallel import ordered_map
from overlay.data.rows import RowError, check_gold, parse_row
from overlay.errors import DataError
from overlay.prompt.template import step_input

SHARD = 32 << 20  # bytes of JSONL in one shard
BATCH = 2048  # rows; opening a file touches every batch, so few large ones
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.list_(pa.string())),
        ("problem", pa.string()),
        ("solution", pa.string()),
        ("also", pa.list_(pa.string())),
        ("accu_reward_method", pa.string()),
        ("elements", pa.list_(pa.list_(pa.float64()))),
        ("group", pa.string()),
        ("candidates", pa.list_(pa.list_(pa.float64()))),
        ("tap", pa.list_(pa.float64())),
        ("task", pa.string()),
        ("thinking", pa.string()),
        ("difficulty", pa.float64()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class Source:
    """A data file with what applies to all its rows. `methods`: the reward methods that exist, None for any; `history`:
    how many earlier screens a row's images begin with; `crop`: how much of each (see `PromptStyle`)."""

    file: Path
    folder: str
    method: str
    methods: tuple[str, ...] | None
    history: int = 0
    crop: float = 0.0


@dataclass(frozen=True)
class Range:
    """Whole lines from byte `start` to `end`; `line` is the number of the first."""

    start: int
    end: int
    line: int


def split_ranges(file: Path) -> Iterator[Range]:
    """Cut a file into ranges of about `SHARD` bytes at line ends."""
    start = position = 0
    line = first = 1
    with open(file, "rb") as data:
        while block := data.read(SHARD):
            block += data.readline()
            position += len(block)
            line += block.count(b"\n")
            yield Range(start, position, first)
            start, first = position, line


def _rows(source: Source, part: Range) -> Iterator[dict]:
    file, folder = os.path.abspath(source.file), os.path.abspath(source.folder)  # the next user may stand elsewhere
    with open(source.file, "rb") as data:
        data.seek(part.start)
        number = part.line - 1
        while data.tell() < part.end:
            line = data.readline()
            number += 1
            if not line.strip():
                continue
            try:
                row = parse_row(line, source.method, source.history, source.crop)
                if source.methods is not None and row["accu_reward_method"] not in source.methods:
                    known = ", ".join(source.methods)
                    raise RowError(f"unknown reward method {row['accu_reward_method']!r} (known: {known})")
                if row["accu_reward_method"] == "gui_action":
                    check_gold(row["solution"])
            except RowError as error:
                raise DataError(f"{source.file}:{number}: {error}") from error
            row["image"] = [os.path.join(folder, path) for path in row["image"]]
            row["source"] = f"{file}:{number}"
            yield row


def _is_first(row: dict) -> bool:
    """Whether nothing comes before the screens that a row shows itself: its history is no longer than that."""
    said = step_input(row["problem"])[1].get("history_path_all")
    return isinstance(said, list) and len(said) < max(1, len(row["image"]))


def _write_shard(work: tuple[Source, Range, Path]) -> Counter[str]:
    """Write one range as an Arrow stream; counts its `rows`, those that say earlier `screens`, and their `points`, and
    those that are `lacking` some. Raises DataError with file and line."""
    source, part, path = work
    counts = Counter[str]()
    with open(path, "wb", buffering=4 << 20) as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        batch: list[dict] = []

        def flush() -> None:
            columns = [pa.array([row[field.name] for row in batch], field.type) for field in SCHEMA]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
            batch.clear()

        for row in _rows(source, part):
            batch.append(row)
            said = {"screens": bool(row["earlier"]), "points": any(each.told for each in row["earlier"])}
            lacking = bool(source.history and not row["earlier"] and not _is_first(row))
            counts.update({"rows": 1, "lacking": lacking, **said})
            if len(batch) == BATCH:
                flush()
        if batch:
            flush()
    return counts


def build(source: Source, folder: Path) -> None:
    """Fill `folder` with shards `00000.arrow`, ... of the source, all or nothing. Raises DataError."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    aside.mkdir(parents=True)
    try:
        work = [(source, part, aside / f"{i:05d}.arrow") for i, part in enumerate(split_ranges(source.file))]
        workers = min(len(work), len(os.sched_getaffinity(0)))
        counts = Counter[str]()
        with tqdm(total=len(work), unit="shard", desc=source.file.name, delay=2) as progress:
            for found in ordered_map(_write_shard, work, workers):
                counts += found
                progress.update()
        if not counts["rows"]:
            raise DataError(f"{source.file}: no rows")
        if counts["lacking"] and not counts["screens"]:
            raise DataError(
                f"{source.file}: no row says its 'earlier' screens, which --history_screens {source.history} shows: "
                "make data writes them, from the task folders"
            )
        if source.crop and counts["screens"] and not counts["points"]:
            raise DataError(
                f"{source.file}: no row says where actions landed on its 'earlier' screens, which --history_crop "
                f"{source.crop:g} shows: make data writes it, from the task folders"
            )
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
