"""What a score is about, by content: the model's weights, the rows with their screens, the settings and versions."""

import argparse
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from overlay.errors import DataError
from overlay.prompt.crop import taken_apart
from overlay.prompt.style import PromptStyle

# What answers depend on: weights, and how text and images become tokens and back.
WEIGHTS = (
    "*.safetensors", "*.bin", "*.index.json", "config.json", "generation_config.json", "*tokenizer*", "vocab*",
    "merges*", "*chat_template*", "*processor_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin")
PACKAGES = ("gui-grpo", "transformers", "vllm", "torch")


def file_digest(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def combined(parts: Iterable[Any]) -> str:
    """One digest of many."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]


def weights_digest(folder: Path) -> str:
    """Digest of all files of a model's folder that its answers depend on, by name and content; they are read side by
    side."""
    files = sorted({file for pattern in WEIGHTS for file in folder.glob(pattern) if file.name not in NO_WEIGHTS})
    with ThreadPoolExecutor(4) as pool:
        return combined(zip([file.name for file in files], pool.map(file_digest, files), strict=True))


@lru_cache(maxsize=65536)
def _digest(path: str, _written: int) -> str:
    return file_digest(Path(path))


def screen_digest(path: str, source: str) -> str:
    """Digest of an image file, with the window of it that its path names; a screen that two rows share is read once.
    DataError names the row."""
    try:
        file, crop = taken_apart(path)
        whole = _digest(str(file), os.stat(file).st_mtime_ns)
        return whole if crop is None else f"{whole} {crop}"
    except OSError as error:
        raise DataError(f"{source}: {path}: {error.strerror}") from error


def row_content(prompt: list[dict[str, Any]], paths: list[str], source: str) -> str:
    """What an answer belongs to beside the weights: the prompt and the pixels of its screens. 24 hexadecimal digits."""
    parts = [prompt, [screen_digest(path, source) for path in paths]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(
    args: argparse.Namespace, style: PromptStyle, model: str, weights: str, contents: list[str]
) -> dict[str, Any]:
    """What metrics.json says of a score beside its figures."""
    files = [Path(part) for part in args.data.split(":") if part]
    return {
        "model": model,
        "weights": weights,
        "date": now(),
        "data": [{"file": str(file), "sha256": file_digest(file)} for file in files],
        "rows_and_screens": combined(contents),
        "prompt": {
            "coordinate_space": style.space.name, "min_pixels": style.space.min_pixels,
            "max_pixels": style.space.max_pixels, "thinking": style.thinking,
            "answer_format": style.answer_format, "history_screens": style.history_screens,
            "history_crop": style.history_crop,
            "language": style.language, "images_first": style.images_first,
            "template": combined([style.template, style.question_template]),
        },
        "settings": {name: getattr(args, name) for name in ("max_tokens", "temperature", "structured", "limit")},
        "versions": {name: installed for name in PACKAGES if (installed := _version(name))},
    }  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
