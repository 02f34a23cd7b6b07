"""Print one row of a data file in full: its JSON, then each turn parsed.

    python -m data_prep.sample rows.jsonl [--index N | --seed S]     (make sample)

`--index` counts from 0; without it a row is drawn at random (the same one for the same seed).
"""

import json
import random
import sys
from pathlib import Path

import orjson

from overlay.action.completion import MISSING, load_json
from overlay.errors import Arguments, DataError, command


def line_offsets(file: Path) -> list[int]:
    """Byte offset of every row that is not blank."""
    offsets, position = [], 0
    with open(file, "rb") as data:
        for line in data:
            if line.strip():
                offsets.append(position)
            position += len(line)
    return offsets


def describe(row: dict) -> str:
    """The row's JSON and its turns, JSON inside them laid out; its elements, which are many, in a line."""
    rest = {name: value for name, value in row.items() if name != "elements"}
    parts = [json.dumps(rest, ensure_ascii=False, indent=2)]
    if "elements" in row:
        parts.append(f"--- elements ---\n{json.dumps(row['elements'])}")
    turns = row.get("conversations")
    for turn in turns if isinstance(turns, list) else []:
        value = str(turn.get("value", "")) if isinstance(turn, dict) else str(turn)
        speaker = turn.get("from") if isinstance(turn, dict) else None
        parts.append(f"--- {speaker} ---\n{_laid_out(value)}")
    return "\n".join(parts)


def _laid_out(value: str) -> str:
    """Text with a JSON object that ends it laid out over lines."""
    start = value.rfind("\n{") + 1
    parsed = load_json(value[start:])
    if parsed is MISSING or not isinstance(parsed, dict):
        return value
    return value[:start] + json.dumps(parsed, ensure_ascii=False, indent=2)


@command("sample")
def main(argv: list[str] | None = None) -> int:
    """Print one row."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="JSONL file")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--index", type=int, help="row number, from 0")
    chosen.add_argument("--seed", type=int, help="draw the row with this seed")
    args = parser.parse_args(argv)
    if not args.data.is_file():
        raise DataError(f"{args.data}: no such file (DATA=)")
    offsets = line_offsets(args.data)
    if not offsets:
        raise DataError(f"{args.data}: no rows")
    index = random.Random(args.seed).randrange(len(offsets)) if args.index is None else args.index
    if not 0 <= index < len(offsets):
        raise DataError(f"INDEX={index}: {args.data} has rows 0 to {len(offsets) - 1}")
    with open(args.data, "rb") as data:
        data.seek(offsets[index])
        line = data.readline()
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{args.data}: row {index} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{args.data}: row {index} is no JSON object")
    print(f"row {index} of {len(offsets)} in {args.data}\n{describe(row)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
