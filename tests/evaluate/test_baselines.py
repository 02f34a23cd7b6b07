"""Answers that need no model: what they are, and that they mean the same in `make eval` and in the demo."""

import json

import pytest

from overlay.action.action import parse_action
from overlay.data.dataset import load_dataset
from overlay.demo.score import figures, truth_of, without_a_model
from overlay.evaluate import baselines
from overlay.evaluate.tables import summary
from overlay.metrics.flags import measure
from overlay.prompt.style import PromptStyle
from tests.evaluate.parts import asked
from tests.served_parts import HELD_OUT_TASKS

SIZE = (1000.0, 2000.0)


def action(kind, parameter=""):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""})


def test_random_and_majority():
    golds = [parse_action(action("click", "100,100,200,300")), parse_action(action("click", "300,100,400,300"))]
    golds += [parse_action(action("type", "x"))]
    sizes = [SIZE] * 3
    drawn = [parse_action(text) for seed in range(30) for text in baselines.guess(sizes, seed)]
    assert all(drawn)
    assert baselines.guess(sizes) == baselines.guess(sizes)
    assert all(len(each.coordinates) == {"swipe": 4}.get(each.type, 2) for each in drawn if each.coordinates)
    assert len({each.type for each in drawn}) == 10
    middle = {parse_action(text) for text in baselines.majority(golds, sizes)}
    assert {each.coordinates for each in middle} == {(250.0, 200.0)}


def test_answers_without_reasoning_have_no_format():
    golds = [action("click", "100,100,200,300")] * 20
    assert measure(baselines.guess([SIZE] * 20), golds)["format_rate"].value == 0


def test_demo_and_eval_mean_the_same(held_out, tmp_path):
    rows = load_dataset(str(held_out), HELD_OUT_TASKS, cache_dir=tmp_path / "arrow")
    truth = truth_of(rows, PromptStyle())
    demo = without_a_model(truth)
    evaluated = summary(asked(str(held_out), HELD_OUT_TASKS), [""] * len(rows))["baselines"]
    for name in ("format_rate", "action_type_accuracy", "grounding_accuracy", "text_accuracy", "step_success_rate"):
        assert demo["majority"][name].value == evaluated["majority"][name]["value"]
    # `random` is drawn fifty times in the demo; its first draw is eval's.
    first = figures(baselines.guess(truth.sizes, 0), truth)
    assert first["step_success_rate"].value == evaluated["random"]["step_success_rate"]["value"]
    assert demo["random"]["step_success_rate"].n == 50 * len(rows)


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
