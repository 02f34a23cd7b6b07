"""JSONL files → one Arrow dataset, built once, memory-mapped by all ranks and later runs.

The Arrow files hold text and paths only (columns: `overlay.data.arrow.SCHEMA`); images are opened when a step asks for
its row. Both trainers train on it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, concatenate_datasets
from datasets.config import HF_DATASETS_CACHE
from filelock import FileLock

from overlay.data.arrow import Source, build
from overlay.errors import DataError

FLAGS = "--data_file_paths", "--image_folders", "--reward_method"
FORMAT = 6  # raise it when the columns or their meaning change: older caches are then built anew


def split_paths(value: str) -> list[str]:
    """`a:b` → ["a", "b"]."""
    return [part for part in value.split(":") if part]


def _key(source: Source) -> str:
    stat = source.file.stat()
    parts = [
        FORMAT, os.path.abspath(source.file), stat.st_size, stat.st_mtime_ns,
        os.path.abspath(source.folder), source.method, source.methods, source.history,
        source.crop,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def load_file(source: Source, cache_dir: str | Path | None = None) -> Dataset:
    """Memory-mapped dataset of one data file. The first process to ask builds it, others on the node wait for that.

    The cache (`cache_dir`, else `overlay` in the Hugging Face datasets cache) is keyed by the file's path, size and
    time, its image folder and reward method. Raises DataError.
    """
    folder = Path(cache_dir or Path(HF_DATASETS_CACHE) / "overlay") / f"{source.file.stem}-{_key(source)}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                build(source, folder)
    # By number: a dataset that is split or shuffled keeps its `cache-*.arrow` files beside the shards.
    return concatenate_datasets([Dataset.from_file(str(shard)) for shard in sorted(folder.glob("[0-9]*.arrow"))])


def load_dataset(
    data_file_paths: str,
    image_folders: str,
    reward_method: str | None = None,
    cache_dir: str | Path | None = None,
    methods: Iterable[str] | None = None,
    flags: tuple[str, str, str] = FLAGS,
    history: int = 0,
    crop: float = 0.0,
) -> Dataset:
    """Dataset of `a:b` data files with their `a:b` image folders and `a:b` reward methods (counts must agree).

    Columns: id (str), image (list of absolute paths), problem (str with `<image>` marks), solution (str),
    also (list of str), accu_reward_method (str), the optional ones of `overlay.data.rows`, source (`file:line`).
    `methods` are the reward methods that exist; `flags`: what the user named files, folders and methods by;
    `history`: how many earlier screens come before a row's own images, at most, and
    `crop` how much of each. Raises DataError.
    """
    files, folders = split_paths(data_file_paths), split_paths(image_folders)
    chosen = split_paths(reward_method) if reward_method else ["default"] * len(files)
    for flag, values in zip(flags[1:], (folders, chosen), strict=True):
        if len(values) != len(files):
            raise DataError(f"{len(files)} data files but {len(values)} in {flag}; give one for each, separated by ':'")
    for file in files:
        if not os.path.isfile(file):
            raise DataError(f"{file}: no such data file ({flags[0]})")
    for folder in folders:
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: no such image folder ({flags[1]})")
    known = None if methods is None else tuple(sorted(methods))
    sources = [Source(Path(f), d, m, known, history, crop) for f, d, m in zip(files, folders, chosen, strict=True)]
    return concatenate_datasets([load_file(source, cache_dir) for source in sources])


def each_row(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Its rows (column → value), with the type that datasets leaves open."""
    return cast(Iterator[dict[str, Any]], iter(dataset))


def batches(dataset: Dataset, size: int) -> Iterator[dict[str, list]]:
    """Its rows in batches (column → values) of at most `size`."""
    return cast(Iterator[dict[str, list]], dataset.iter(size))
