"""Every completion with its rewards, kept on disk by each rank for the rollouts page (`make rollouts`).

`output_dir/rollouts/rank00000.jsonl`, one object a line: step, mode, source, image_path, solution, also,
coordinate_scale, screen_size, answer_format, completion, rewards (name → score, null where a reward had none),
advantage. Each rank writes its own file, in whole lines, and the oldest half goes when it is full.
"""

import json
import math
from logging import INFO, LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from overlay.errors import DataError

FOLDER = "rollouts"
NEEDED = ("step", "mode", "source", "image_path", "problem", "solution", "completion", "rewards", "advantage")
COLUMNS = (
    "source", "image_path", "problem", "solution", "also", "coordinate_scale", "screen_size", "accu_reward_method",
    "answer_format",
)  # fmt: skip


class RolloutFile:
    """Append-only file of one rank, at most `megabytes` on disk."""

    def __init__(self, output_dir: str, rank: int, megabytes: float):
        path = Path(output_dir) / FOLDER / f"rank{rank:05d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.handler = RotatingFileHandler(path, maxBytes=int(megabytes * 5e5), backupCount=1, encoding="utf-8")

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records, each one line."""
        for record in records:
            line = json.dumps(record, ensure_ascii=True, default=str)  # escaped: lone surrogates are no UTF-8
            self.handler.emit(LogRecord("rollouts", INFO, "", 0, line, None, None))


def records_of(
    about: dict[str, Any],
    rows: list[dict[str, Any]],
    texts: list[str],
    scores: dict[str, list[float | None]],
    advantages: list[float],
) -> list[dict[str, Any]]:
    """What is kept of a batch's completions: `about` all of them (step, mode), each one's row, text, scores by reward
    and advantage."""
    return [
        {
            **about,
            **{name: row.get(name) for name in COLUMNS},
            "completion": text,
            "rewards": {name: values[n] for name, values in scores.items()},
            "advantage": advantages[n],
        }
        for n, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]


def clean(score: float | None) -> float | None:
    """A reward as JSON holds it: None for no reward at all."""
    return None if score is None or not math.isfinite(score) else float(score)


def read(output_dir: str | Path) -> list[dict[str, Any]]:
    """All records of a run, of all ranks, by step. A last line that a killed run cut short is left out; another line
    that is no record is a DataError."""
    records = []
    for file in sorted(Path(output_dir, FOLDER).glob("rank*.jsonl*")):
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith(b"\n"):
                    records.append(_record(line, f"{file}:{number}"))
    return sorted(records, key=lambda record: (record["step"], record["source"] or ""))


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}): delete the line") from error
    missing = [name for name in NEEDED if name not in record] if isinstance(record, dict) else ["all"]
    if missing or not isinstance(record["step"], int) or not isinstance(record["completion"], str):
        raise DataError(f"{where}: no record of a rollout ({missing[0] if missing else 'step'}): delete the line")
    return record
