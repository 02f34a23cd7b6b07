"""Scores of answers against gold actions: every metric with its rule, its N and an interval, by any column.

Flags are computed once for each row; a metric is the mean of a flag over the rows it is defined for. Intervals are
95 % bootstrap intervals over tasks, for the steps of a task are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, hypot

import numpy as np
import pandas as pd

from overlay.action.action import BOX_TYPES, TEXT_TYPES, Action, as_box, centre, parse_action
from overlay.metrics.flags import hits_box, succeeds
from overlay.rewards.format import HIGHEST, score_format

RULES = {
    "box": "centre of the answer in the gold box (our default)",
    "box x1.2": "centre of the answer in the gold box grown by 1.2",
    "0.14": "distance of centres at most 0.14 of the screen (AITW)",
    "0.04": "distance of centres at most 0.04 of the screen (AgentCPM on AndroidControl)",
}
RESAMPLES, SEED = 1000, 0


@dataclass(frozen=True)
class Score:
    """A share of `n` rows with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] N={self.n}"


def hits(predicted: Action, gold: Action, rule: str, size: tuple[float, float]) -> bool:
    """Whether a click answers a gold box under `rule`; `size` is the screen's, in the coordinates' space."""
    if predicted.coordinates is None or gold.coordinates is None:
        return False
    if rule == "box":
        return hits_box(predicted, gold)
    box, (x, y) = as_box(gold.coordinates), centre(as_box(predicted.coordinates))
    across, down = centre(box)
    if rule == "box x1.2":
        return abs(x - across) <= 0.6 * (box[2] - box[0]) and abs(y - down) <= 0.6 * (box[3] - box[1])
    return hypot((x - across) / size[0], (y - down) / size[1]) <= float(rule)


def row_flags(completion: str, solution: str, size: tuple[float, float]) -> dict[str, object]:
    """What one answer got right; a flag is None where the metric is not about this row."""
    answer, gold = parse_action(completion), parse_action(solution)
    if gold is None:
        raise ValueError("gold is no action")
    typed, success = answer is not None and answer.type == gold.type, succeeds(answer, gold)
    box = gold.type in BOX_TYPES
    under = {rule: typed and hits(answer, gold, rule, size) for rule in RULES} if box else dict.fromkeys(RULES)
    return {
        "gold_type": gold.type,
        "answer_type": answer.type if answer else "none",
        "format_rate": score_format(completion) == HIGHEST,
        "action_type_accuracy": typed,
        **{f"grounding_accuracy ({rule})": under[rule] for rule in RULES},
        "grounding_accuracy_type_matched (box)": under["box"] if box and typed else None,
        "text_accuracy": typed and answer.text == gold.text if gold.type in TEXT_TYPES else None,
        "swipe_direction_accuracy": success if gold.type == "swipe" else None,
        "step_success_rate (box)": success,
        **{f"step_success_rate ({rule})": under[rule] if box else success for rule in RULES if rule != "box"},
    }


METRICS = list(row_flags("", '{"action_type": "wait", "action_parameter": {"wait": ""}}', (1, 1)))[2:]


def _resampled(values: np.ndarray, tasks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Means over bootstrap resamples of whole tasks (RESAMPLES,)."""
    _, codes = np.unique(tasks, return_inverse=True)
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    draws = generator.integers(len(sums), size=(RESAMPLES, len(sums)))
    return sums[draws].sum(1) / counts[draws].sum(1)


def score(flags: pd.Series, tasks: pd.Series) -> Score | None:
    """Mean of a flag over the rows that have it, None where no row has."""
    known = flags.notna()
    if not known.any():
        return None
    values = flags[known].astype(float).to_numpy()
    means = _resampled(values, tasks[known].to_numpy(), np.random.default_rng(SEED))
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(values.mean()), float(low), float(high), int(known.sum()))


def overall(rows: pd.DataFrame) -> dict[str, Score]:
    """Every metric over all rows, and the share of tasks whose steps are all right."""
    scores = {name: score(rows[name], rows["task"]) for name in METRICS}
    whole = rows.groupby("task")["step_success_rate (box)"].all()
    scores["task_success_rate (box)"] = score(whole, pd.Series(whole.index, index=whole.index))
    return {name: value for name, value in scores.items() if value is not None}


def by(rows: pd.DataFrame, column: str, metric: str = "step_success_rate (box)") -> dict[str, Score]:
    """One metric for each value of a column, most frequent value first."""
    order = rows[column].value_counts().index
    parts = {str(value): rows[rows[column] == value] for value in order}
    return {value: score(part[metric], part["task"]) for value, part in parts.items()}


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same rows: difference (second less first) with its interval, and McNemar's exact p."""

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    n: int


def compare(first: pd.DataFrame, second: pd.DataFrame, metric: str = "step_success_rate (box)") -> Comparison:
    """Paired comparison over the rows that both runs answered. Raises ValueError when there are none."""
    pairs = first.merge(second, on="source", suffixes=("", "_second"))
    if pairs.empty:
        raise ValueError("the runs have no row in common")
    one, two = pairs[metric].astype(float), pairs[f"{metric}_second"].astype(float)
    change = (two - one).to_numpy()
    means = _resampled(change, pairs["task"].to_numpy(), np.random.default_rng(SEED))
    low, high = np.quantile(means, [0.025, 0.975])
    lost, won = int(((one == 1) & (two == 0)).sum()), int(((one == 0) & (two == 1)).sum())
    return Comparison(float(change.mean()), float(low), float(high), lost, won, mcnemar(lost, won), len(pairs))


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
