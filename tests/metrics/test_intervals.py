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
        rows += [{"task": task} | row_flags(text, gold) for text in texts]
    found = intervals.overall(pd.DataFrame(rows))
    assert found["step_success_rate"].value == 0.75
    assert (found["task_success_rate"].value, found["task_success_rate"].n) == (0.5, 2)
    assert (found["task_progress"].value, found["task_progress"].n) == (0.75, 2)


def test_progress_ends_with_the_first_wrong_step():
    """As AgentCPM and UI-S1 count it: what is right after a wrong step does not count; steps without a verdict are no
    steps."""
    verdicts = {"a": [True, False, True, True], "b": [False, True], "c": [True, None, True], "d": [None]}
    rows = pd.DataFrame([{"task": task, "flag": flag} for task, steps in verdicts.items() for flag in steps])
    found = intervals.episodes(rows, "flag")
    assert (found["task_progress"].value, found["task_progress"].n) == (pytest.approx((1 / 4 + 0 + 1) / 3), 3)
    assert (found["task_success_rate"].value, found["task_success_rate"].n) == (pytest.approx(1 / 3), 3)
    assert intervals.episodes(rows[rows["task"] == "d"], "flag") == {}


def run(right, first=0, last=10):
    """Ten rows of waits, from `first` to before `last`, right where `right` says; their digest is their number."""
    gold, other = action("wait"), action("back")
    texts = {n: gold if n in right else other for n in range(first, last)}
    about = [{"task": n, "digest": str(n), "source": f"rows.jsonl:{n + 1 - first}"} for n in texts]
    return pd.DataFrame([row | row_flags(text, gold) for row, text in zip(about, texts.values(), strict=True)])


def test_paired_comparison():
    found = intervals.compare(run({0, 1}), run({1, 2, 3, 4, 5, 6, 7}))
    assert (found.only_first, found.only_second, found.n) == (1, 6, 10)
    assert (found.not_in_first, found.not_in_second, found.not_in_both) == (0, 0, [])
    assert found.difference == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)  # exact binomial of 1 in 7
    assert intervals.mcnemar(0, 0) == 1.0
    with pytest.raises(DataError, match="no row in common"):
        intervals.compare(run({0}), run({0}).assign(digest="elsewhere"))


def test_rows_are_paired_by_what_they_hold():
    """After the first line was removed, and one added at the end, lines have other numbers; the rows are the same."""
    found = intervals.compare(run({3, 4}), run({3, 4, 10}, first=1, last=11))
    assert (found.n, found.only_first, found.only_second) == (9, 0, 0)
    assert (found.not_in_first, found.not_in_second) == (1, 1)
    assert found.not_in_both == ["rows.jsonl:1", "rows.jsonl:10"]
    twice = pd.concat([run({0}, last=1), run({}, last=1)])
    assert intervals.compare(twice, twice).n == 2  # a row that stands twice is paired once for each
