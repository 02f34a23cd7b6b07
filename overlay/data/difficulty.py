"""Training rows by their column `difficulty`: the share of a model's samples that were right (`make difficulty`)."""

import sys

from datasets import Dataset

from overlay.errors import DataError
from overlay.settings import share_range


def known(rows: Dataset, flag: str) -> list[float | None]:
    """The column, None where a row has none. DataError when no row has any; `flag` asked for it."""
    column = rows["difficulty"][:]
    if all(value is None for value in column):
        raise DataError(f"{flag}: no row has a difficulty: make difficulty MODEL= DATA= OUT= writes rows that have")
    return column


def within(rows: Dataset, wanted: str, says: bool = True) -> Dataset:
    """The rows whose difficulty is within `wanted` (LOW:HIGH, ends included); says how many are left. DataError when
    the column is not there, or nothing is left."""
    low, high = share_range("difficulty", wanted)
    flag = f"--difficulty {wanted}"
    column = known(rows, flag)
    kept = [number for number, value in enumerate(column) if value is not None and low <= value <= high]
    counts = {
        "below": sum(value is not None and value < low for value in column),
        "above": sum(value is not None and value > high for value in column),
        "without a difficulty": column.count(None),
    }
    told = ", ".join(
        f"{count:,} {where}" for where, count in counts.items() if count or where != "without a difficulty"
    )
    if not kept:
        raise DataError(f"{flag}: none of {len(rows):,} rows is left ({told}): widen it")
    if says:
        print(f"{flag}: {len(kept):,} of {len(rows):,} training rows are left ({told})", file=sys.stderr)
    return rows.select(kept)
