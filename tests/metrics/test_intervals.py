"""Metrics by hand: rules, intervals over tasks, paired comparison, baselines."""

import json

import pandas as pd
import pytest

from overlay.action.action import parse_action
from overlay.evaluate import baselines
from overlay.metrics import intervals as scores

SIZE = (1000.0, 2000.0)


def action(kind, parameter=""):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""})


def flags(completion, gold):
    return scores.row_flags(completion, gold, SIZE)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        # Gold box 100..200 x 100..300 on 1000 x 2000: its centre is 150,200.
        ("150,200", {"box": True, "box x1.2": True, "0.14": True, "0.04": True}),
        ("205,200", {"box": False, "box x1.2": True, "0.14": True, "0.04": False}),  # 0.055 of the width off
        ("150,460", {"box": False, "box x1.2": False, "0.14": True, "0.04": False}),  # 0.13 of the height off
        ("900,200", {"box": False, "box x1.2": False, "0.14": False, "0.04": False}),
    ],
)
def test_rules(point, expected):
    found = flags(action("click", point), action("click", "100,100,200,300"))
    assert {rule: found[f"grounding_accuracy ({rule})"] for rule in scores.RULES} == expected
    assert found["step_success_rate (0.14)"] == expected["0.14"]


def test_flags_are_there_only_where_they_mean_something():
    wrong = flags(action("wait"), action("click", "100,100,200,300"))
    assert wrong["grounding_accuracy (box)"] is False  # over all click steps
    assert wrong["grounding_accuracy_type_matched (box)"] is None  # over those with the right type
    text = flags(action("type", "无锡"), action("type", "无锡"))
    assert text["text_accuracy"] is True
    assert text["grounding_accuracy (box)"] is None
    swipe = flags(action("swipe", "100,500,100,100"), action("swipe", "50,400,60,90"))
    assert swipe["swipe_direction_accuracy"] is True
    assert (
        flags(action("swipe", "100,100,100,500"), action("swipe", "50,400,60,90"))["swipe_direction_accuracy"] is False
    )
    assert flags("no answer", action("wait"))["answer_type"] == "none"


def test_intervals_are_over_tasks():
    """Ten steps of one task say less than ten tasks."""
    values = pd.Series([1.0] * 5 + [0.0] * 5)
    one = scores.score(values, pd.Series(["a"] * 5 + ["b"] * 5))
    ten = scores.score(values, pd.Series(list("abcdefghij")))
    assert (one.value, one.n) == (ten.value, ten.n) == (0.5, 10)
    assert one.high - one.low == pytest.approx(1.0)
    assert ten.high - ten.low < 0.8
    assert scores.score(pd.Series([None, None]), pd.Series(["a", "b"])) is None


def test_task_success_needs_every_step():
    gold, rows = action("wait"), []
    for task, texts in (("t1", [gold, gold]), ("t2", [gold, action("back")])):
        rows += [{"task": task, "source": f"{task}:{n}"} | flags(text, gold) for n, text in enumerate(texts)]
    found = scores.overall(pd.DataFrame(rows))
    assert found["step_success_rate (box)"].value == 0.75
    assert (found["task_success_rate (box)"].value, found["task_success_rate (box)"].n) == (0.5, 2)


def test_paired_comparison():
    gold, other = action("wait"), action("back")

    def run(right):
        texts = [gold if n in right else other for n in range(10)]
        return pd.DataFrame([{"task": n, "source": str(n)} | flags(t, gold) for n, t in enumerate(texts)])

    found = scores.compare(run({0, 1}), run({1, 2, 3, 4, 5, 6, 7}))
    assert (found.only_first, found.only_second, found.n) == (1, 6, 10)
    assert found.difference == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7)  # exact binomial of 1 in 7
    assert scores.mcnemar(0, 0) == 1.0
    with pytest.raises(ValueError, match="no row in common"):
        scores.compare(run({0}), run({0}).assign(source="elsewhere"))


def test_baselines():
    golds = [parse_action(action("click", "100,100,200,300")), parse_action(action("click", "300,100,400,300"))]
    golds += [parse_action(action("type", "x"))]
    sizes = [SIZE] * 3
    assert all(parse_action(text) for text in baselines.guess(golds, sizes))
    assert baselines.guess(golds, sizes) == baselines.guess(golds, sizes)
    middle = {parse_action(text) for text in baselines.majority(golds, sizes)}
    assert {each.coordinates for each in middle} == {(250.0, 200.0)}


@pytest.mark.parametrize(
    ("plan", "history", "expected"),
    [
        ({"1": "打开微信", "2": "点击搜索"}, [], ("open_app", "微信")),
        ({"1": "打开微信", "2": "点击搜索"}, ["打开微信"], ("click", "")),
        ({"1": "Type hello"}, [], ("type", "hello")),
        ({"1": "打开微信"}, ["打开微信"], ("task_completed", "")),
        ({"1": "向上滑动"}, [], ("swipe", "")),
    ],
)
def test_the_plans_next_step(plan, history, expected):
    answer = parse_action(baselines.plan_step({"task_path": plan, "history_path_all": history}))
    assert (answer.type, answer.text if expected[1] else "") == expected
