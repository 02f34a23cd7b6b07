"""Intervals over tasks and paired comparison, by hand."""

import json

import pandas as pd
import pytest

from overlay.errors import DataError
from overlay.metrics import intervals
from overlay.metrics.flags import row_flags


def action(kind, parameter=""):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""})


def test_intervals_are_over_tasks():
    """Ten steps of one task say less than ten tasks."""
    values = pd.Series([1.0] * 5 + [0.0] * 5)
    one = intervals.estimate(values, pd.Series(["a"] * 5 + ["b"] * 5))
    ten = intervals.estimate(values, pd.Series(list("abcdefghij")))
    assert (one.value, one.n) == (ten.value, ten.n) == (0.5, 10)
    assert one.high - one.low == pytest.approx(1.0)
    assert ten.high - ten.low < 0.8
    assert intervals.estimate(pd.Series([None, None]), pd.Series(["a", "b"])) is None


def test_task_success_needs_every_step():
    gold, rows = action("wait"), []
    for task, texts in (("t1", [gold, gold]), ("t2", [gold, action("back")])):
        rows += [{"task": task, "source": f"{task}:{n}"} | row_flags(text, gold) for n, text in enumerate(texts)]
    found = intervals.overall(pd.DataFrame(rows))
    assert found["step_success_rate"].value == 0.75
    assert (found["task_success_rate"].value, found["task_success_rate"].n) == (0.5, 2)


def test_paired_comparison():
    gold, other = action("wait"), action("back")

    def run(right):
        texts = [gold if n in right else other for n in range(10)]
        return pd.DataFrame([{"task": n, "source": str(n)} | row_flags(t, gold) for n, t in enumerate(texts)])

    found = intervals.compare(run({0, 1}), run({1, 2, 3, 4, 5, 6, 7}))
    assert (found.only_first, found.only_second, found.n) == (1, 6, 10)
    assert found.difference == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)  # exact binomial of 1 in 7
    assert intervals.mcnemar(0, 0) == 1.0
    with pytest.raises(DataError, match="no row in common"):
        intervals.compare(run({0}), run({0}).assign(source="elsewhere"))
