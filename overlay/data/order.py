"""Which rows an epoch has, and in what order, where that is not each row once at random.

Everything follows from seed and epoch alone, so ranks agree and a resumed run goes on with the same rows.
"""

import os
import random
from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from overlay.data.dataset import split_paths
from overlay.data.difficulty import known
from overlay.errors import DataError, SettingError

UNKNOWN = 0.5  # a row without a difficulty stands in the middle


def shares(rows: int, weights: Sequence[float]) -> list[int]:
    """`rows` in parts as the weights are to each other, in whole numbers, by largest remainder.

    >>> shares(10, [1, 2, 1])
    [3, 5, 2]
    """
    exact = [rows * weight / sum(weights) for weight in weights]
    counts = [int(part) for part in exact]
    for n in sorted(range(len(weights)), key=lambda n: counts[n] - exact[n])[: rows - sum(counts)]:
        counts[n] += 1
    return counts


class Order:
    """`files`: the data file of each row, by number; `weights`: of these files in an epoch, None: each row once.
    `easy`: difficulty of each row (1: always right), by which the first `epochs` go, easy first."""

    def __init__(
        self,
        files: Sequence[int],
        weights: Sequence[float] | None,
        easy: Sequence[float] | None,
        epochs: int,
        seed: int,
    ):
        self.rows = [[n for n, own in enumerate(files) if own == file] for file in range(max(files) + 1)]
        self.weights, self.easy, self.epochs, self.seed = weights, easy, epochs, seed

    def __call__(self, epoch: int, count: int) -> list[int]:
        """Numbers of the `count` rows of an epoch, at most as many as there are rows: of each file its part, which goes
        through all rows of it, in a new order each time, before one comes again. Without weights those that an epoch
        has no place for are drawn anew each time."""
        if self.weights:
            parts = enumerate(shares(count, self.weights))
            picked = [row for file, part in parts for row in self._of_file(file, epoch * part, part)]
        else:
            picked = [row for own in self.rows for row in own]
        random.Random(f"{self.seed} epoch {epoch}").shuffle(picked)
        picked = picked[:count]
        if self.easy is not None and epoch < self.epochs:
            easy = self.easy
            picked.sort(key=lambda row: -easy[row])  # the shuffle decides between equals
        return picked

    def _of_file(self, file: int, first: int, count: int) -> list[int]:
        """Rows `first` to `first + count` of a file's passes one after the other."""
        own, found = self.rows[file], []
        while len(found) < count:
            times, place = divmod(first + len(found), len(own))
            order = random.Random(f"{self.seed} file {file} pass {times}").sample(own, len(own))
            found += order[place : place + count - len(found)]
        return found


def weights_of(value: str, files: int) -> list[float]:
    """The numbers of `--data_weights`. SettingError where they are not one for each file, all above 0."""
    try:
        found = [float(part) for part in value.split(":")]
    except ValueError:
        found = []
    if len(found) != files or not all(0 < weight < float("inf") for weight in found):
        raise SettingError(f"--data_weights {value}: give a number above 0 for each of {files} data files, such as 1:3")
    return found


def order_of(args: Any, rows: Dataset, seed: int) -> Order | None:
    """The order that the data flags ask for over these training rows; None for each row once at random. Raises
    SettingError or DataError."""
    if not args.data_weights and not args.curriculum_epochs:
        return None
    names = [os.path.abspath(file) for file in split_paths(args.data_file_paths)]
    weights = weights_of(args.data_weights, len(names)) if args.data_weights else None
    rows = rows.with_format(None)
    files = [names.index(source.rpartition(":")[0]) for source in rows["source"]]
    empty = [name for n, name in enumerate(names) if n not in set(files)]
    if weights and 0 in (parts := shares(len(rows), weights)):
        raise SettingError(
            f"--data_weights {args.data_weights}: an epoch of {len(rows)} rows has none of {names[parts.index(0)]}: "
            "give it more weight, or leave it out"
        )
    if weights and empty:
        raise DataError(f"--data_weights {args.data_weights}: no row of {empty[0]} is left to be drawn")
    easy = None
    if args.curriculum_epochs:
        column = known(rows, f"--curriculum_epochs {args.curriculum_epochs}")
        easy = [UNKNOWN if value is None else value for value in column]
    return Order(files, weights, easy, args.curriculum_epochs, seed)
