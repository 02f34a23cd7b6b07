"""Metrics with intervals, by any column, and paired comparisons of two runs, over tables of `row_flags`.

Intervals are 95 % bootstrap intervals over tasks, for the steps of a task are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from overlay.errors import DataError
from overlay.metrics.episodes import progress
from overlay.metrics.flags import OWN

RESAMPLES, SEED = 1000, 0
NAMED = 20  # rows that a comparison names of those that are not in both


@dataclass(frozen=True)
class Score:
    """A share of `n` rows with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] N={self.n}"


def _resampled(values: np.ndarray, tasks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Means over bootstrap resamples of whole tasks (RESAMPLES,)."""
    _, codes = np.unique(tasks, return_inverse=True)
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    draws = generator.integers(len(sums), size=(RESAMPLES, len(sums)))
    return sums[draws].sum(1) / counts[draws].sum(1)


def estimate(flags: Any, tasks: Any) -> Score | None:
    """Mean of a flag (a Series) over the rows that have it, None where no row has."""
    known = flags.notna()
    if not known.any():
        return None
    values = flags[known].astype(float).to_numpy()
    means = _resampled(values, tasks[known].to_numpy(), np.random.default_rng(SEED))
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(values.mean()), float(low), float(high), int(known.sum()))


def verdicts_of(rows: pd.DataFrame, metric: str) -> dict[str, list[bool]]:
    """The verdicts of each task's steps, which stand in order; steps that have none are no steps."""
    verdicts: dict[str, list[bool]] = {}
    known = rows.dropna(subset=[metric])
    for task, verdict in zip(known["task"], known[metric], strict=True):
        verdicts.setdefault(task, []).append(bool(verdict))
    return verdicts


def episodes(rows: pd.DataFrame, metric: str = "step_success_rate") -> dict[str, Score]:
    """Over tasks, whose steps stand in order: the share with every step right (`task_success_rate`), and how much of a
    task goes right until its first wrong step (`task_progress`). Steps that have no verdict do not count."""
    verdicts = verdicts_of(rows, metric)
    reached = progress(list(verdicts.values()))
    tasks, shares = pd.Series(list(verdicts), dtype=object), pd.Series(reached, dtype=float)
    found = {"task_success_rate": estimate(shares == 1, tasks), "task_progress": estimate(shares, tasks)}
    return {name: score for name, score in found.items() if score is not None}


def overall(rows: pd.DataFrame) -> dict[str, Score]:
    """Every metric over all rows under our default rule, and those over tasks."""
    scores = {name: estimate(rows[name], rows["task"]) for name in OWN}
    return {name: value for name, value in scores.items() if value is not None} | episodes(rows)


def by(rows: pd.DataFrame, column: str, metric: str = "step_success_rate") -> dict[str, Score]:
    """One metric for each value of a column, most frequent value first."""
    order = rows[column].value_counts().index
    parts = {str(value): rows[rows[column] == value] for value in order}
    scores = {value: estimate(part[metric], part["task"]) for value, part in parts.items()}
    return {value: score for value, score in scores.items() if score is not None}


@dataclass(frozen=True)
class Comparison:
    """Two runs on the rows that both answered: difference (second less first) with its interval, and McNemar's exact p;
    how many rows only one run has, and the first of them by name."""

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    n: int
    not_in_first: int
    not_in_second: int
    not_in_both: list[str]


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the `copy` that each is of its content: a file may hold a row twice."""
    return rows.assign(copy=rows.groupby("digest").cumcount())


def compare(first: pd.DataFrame, second: pd.DataFrame, metric: str = "step_success_rate") -> Comparison:
    """Paired comparison over the rows that both runs have a verdict on, paired by their content (column `digest`).
    Raises DataError when there are none."""
    sides = [_numbered(rows.dropna(subset=[metric])) for rows in (first, second)]
    both = sides[0].merge(sides[1], on=["digest", "copy"], how="outer", suffixes=("", "_second"), indicator="found")
    pairs = both.query("found == 'both'")
    if pairs.empty:
        raise DataError("the runs have no row in common")
    one, two = (np.array(pairs[name], dtype=float) for name in (metric, f"{metric}_second"))
    change = two - one
    means = _resampled(change, np.array(pairs["task_second"], dtype=str), np.random.default_rng(SEED))
    low, high = np.quantile(means, [0.025, 0.975])
    lost, won = int(((one == 1) & (two == 0)).sum()), int(((one == 0) & (two == 1)).sum())
    alone = {side: both.query("found == @side") for side in ("left_only", "right_only")}
    names = [*alone["left_only"]["source"], *alone["right_only"]["source_second"]]
    return Comparison(
        float(change.mean()), float(low), float(high), lost, won, mcnemar(lost, won), len(pairs),
        len(alone["right_only"]), len(alone["left_only"]), [str(name) for name in names[:NAMED]],
    )  # fmt: skip


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test from the numbers of rows that only one run got right."""
    n, k = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)


def confusion(rows: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Counts of gold types (rows) against answered types (columns), `order` first, `none` last."""
    table = pd.crosstab(rows["gold_type"], rows["answer_type"])
    golds = [name for name in order if name in table.index]
    answers = [name for name in order if name in table.columns]
    return table.reindex(index=golds, columns=answers + [name for name in table.columns if name not in answers])
