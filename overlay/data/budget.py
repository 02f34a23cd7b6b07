"""Prompts within a token budget (`--max_prompt_length`, text and images), decided once before training.

A prompt that is too long fails the start, is left out, or has its images shrunk until it fits; tokens are never cut
off, since a cut inside an image would break it. The decision is kept beside the Arrow files, for all ranks and later
runs.
"""

import hashlib
import json
import os
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

from datasets import Dataset
from filelock import FileLock

from overlay.data.dataset import batches
from overlay.data.images import size_of
from overlay.data.lengths import BATCH, image_tokens, prompt_lengths
from overlay.errors import DataError
from overlay.prompt.crop import taken_apart
from overlay.prompt.style import PromptStyle
from overlay.settings import OVERLONG, one_of

LEFT_OUT = -1


def fit(rows: Dataset, style: PromptStyle, processor: Any, budget: int, mode: str, rank: int = 0) -> Dataset:
    """The rows whose prompts are within `budget` tokens, with a column `max_pixels`: the limit of each image of a row
    that was shrunk, 0 where the run's own holds.

    `fail` raises DataError when any is over; `filter` leaves them out; `shrink` lowers the limit of their images to the
    largest that fits, and leaves out those whose text alone is too long. Rank 0 says what was done.
    """
    one_of("overlong", mode, OVERLONG)
    limits = _decided(rows, style, processor, budget, mode)
    left_out, shrunk = limits.count(LEFT_OUT), sum(limit > 0 for limit in limits)
    if left_out == len(limits):
        raise DataError(f"no prompt is within --max_prompt_length {budget}; raise it, or lower --max_pixels")
    if rank == 0 and (left_out or shrunk):
        print(
            f"--max_prompt_length {budget}: of {len(limits):,} prompts {left_out:,} left out, {shrunk:,} with smaller "
            "images",
            file=sys.stderr,
        )
    rows = rows.add_column("max_pixels", [max(limit, 0) for limit in limits])
    return rows.select([n for n, limit in enumerate(limits) if limit != LEFT_OUT]) if left_out else rows


def _decided(rows: Dataset, style: PromptStyle, processor: Any, budget: int, mode: str) -> list[int]:
    files = sorted({entry["filename"] for entry in rows.cache_files})
    shown = batches(rows.select_columns("image"), BATCH)
    paths = sorted({path for batch in shown for row in batch["image"] for path in row})
    images = processor.image_processor
    parts = [
        files, len(rows), astuple(style), str(processor.tokenizer.name_or_path), len(processor.tokenizer),
        processor.chat_template, budget, mode, images.size["shortest_edge"], images.size["longest_edge"],
        [_written(path) for path in paths],
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    kept = Path(files[0]).parent.with_name(f"budget-{key}.json")
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            limits = _decide(rows, style, processor, budget, mode)
            aside = kept.with_suffix(f".{os.getpid()}.tmp")
            aside.write_text(json.dumps(limits))
            aside.rename(kept)
    return json.loads(kept.read_text())


def _written(path: str) -> tuple[int, int]:
    """When an image was written, and its bytes: another size in pixels changes them. Zeros where it is missing, which
    whoever opens it reports."""
    try:
        stat = os.stat(taken_apart(path)[0])
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _decide(rows: Dataset, style: PromptStyle, processor: Any, budget: int, mode: str) -> list[int]:
    lengths = prompt_lengths(rows, style, processor)
    over = [number for number, length in enumerate(lengths) if length > budget]
    if mode == "fail" and over:
        shown = ", ".join(f"{rows[n]['source']} ({lengths[n]} tokens)" for n in over[:3])
        raise DataError(
            f"{len(over)} of {len(lengths)} prompts are longer than --max_prompt_length {budget}: {shown}. "
            "Raise it, lower --max_pixels, or choose --overlong filter or shrink"
        )
    limits = [0] * len(lengths)
    for number in over:
        sizes = [size_of(path, rows[number]["source"]) for path in rows[number]["image"]]
        limits[number] = _shrunk(lengths[number], sizes, processor, budget) if mode == "shrink" else LEFT_OUT
    return limits


def _shrunk(length: int, sizes: list[tuple[int, int]], processor: Any, budget: int) -> int:
    """The largest pixel limit under which a prompt of `length` tokens with images of `sizes` fits; LEFT_OUT if none."""
    text = length - sum(image_tokens(*size, processor) for size in sizes)
    low, high = processor.image_processor.size["shortest_edge"], processor.image_processor.size["longest_edge"]

    def fits(limit: int) -> bool:
        return text + sum(image_tokens(*size, processor, limit) for size in sizes) <= budget

    if not sizes or not fits(low):
        return LEFT_OUT
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
