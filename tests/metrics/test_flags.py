"""What an answer got right, by hand: rules, flags, and the metrics of training's evaluation and the demo."""

import json

import pytest

from overlay.action.action import Action
from overlay.errors import DataError
from overlay.metrics.flags import METRICS, RULES, hits, measure, row_flags, ruled, succeeds

SIZE = (1000.0, 2000.0)


def action(kind, parameter=""):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""})


def flags(completion, gold):
    return row_flags(completion, gold, SIZE)


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
    others = {rule: found[f"grounding_accuracy ({rule})"] for rule in RULES if rule != "box"}
    assert {"box": found["grounding_accuracy"]} | others == expected
    assert found["step_success_rate"] == expected["box"]
    assert found["step_success_rate (0.14)"] == expected["0.14"]


def test_flags_are_there_only_where_they_mean_something():
    wrong = flags(action("wait"), action("click", "100,100,200,300"))
    assert wrong["grounding_accuracy"] is False  # over all click steps
    assert wrong["grounding_accuracy_type_matched"] is None  # over those with the right type
    text = flags(action("type", "无锡"), action("type", "无锡"))
    assert text["text_accuracy"] is True
    assert text["grounding_accuracy"] is None
    swipe = flags(action("swipe", "100,500,100,100"), action("swipe", "50,400,60,90"))
    assert swipe["swipe_direction_accuracy"] is True
    assert (
        flags(action("swipe", "100,100,100,500"), action("swipe", "50,400,60,90"))["swipe_direction_accuracy"] is False
    )
    assert flags("no answer", action("wait"))["answer_type"] == "none"


def test_a_distance_needs_the_screens_size():
    gold = action("click", "100,100,200,300")
    found = row_flags(gold, gold)
    assert [name for name, flag in found.items() if flag is None] == [
        "grounding_accuracy (0.14)", "grounding_accuracy (0.04)", "text_accuracy", "swipe_direction_accuracy",
        "step_success_rate (0.14)", "step_success_rate (0.04)",
    ]  # fmt: skip
    assert found["grounding_accuracy (box x1.2)"] is True
    assert row_flags(action("wait"), action("wait"))["step_success_rate (0.14)"] is True  # no click, no distance


def test_gold_that_is_no_action_is_said():
    with pytest.raises(DataError, match="gold is no action: 4"):
        row_flags(action("wait"), "4")


def test_a_metric_that_depends_on_the_rule_says_so():
    named = {ruled(name) for name in (*METRICS, "task_success_rate")}
    assert {"grounding_accuracy (box)", "grounding_accuracy (0.14)", "step_success_rate (box)", "text_accuracy"} < named
    assert "format_rate" in named


def test_success_rules():
    box = Action("click", "10,10,50,50")
    assert hits(Action("click", "12,12"), box)
    assert hits(Action("click", "0,0,100,100"), box)  # its centre is in the gold box
    assert not hits(Action("click", "60,60,70,70"), box)
    assert succeeds(Action("swipe", "0,100,0,90"), Action("swipe", "50,500,50,100"))
    assert not succeeds(Action("swipe", "0,90,0,100"), Action("swipe", "50,500,50,100"))
    assert not succeeds(Action("swipe", "0,90,0,100"), Action("swipe", "down"))  # gold without a path
    assert succeeds(Action("task_completed", "whatever"), Action("task_completed", "done"))
    assert not succeeds(Action("type", "ab"), Action("type", "abc"))
    assert not succeeds(None, box)


def test_every_metric_has_its_n():
    gold, wait = action("click", "1,2,3,4"), action("wait")
    found = measure([f"<answer>{gold}</answer>", f"<answer>{wait}</answer>", "nothing"], [gold, gold, wait])
    assert list(found) == [
        "format_rate", "action_type_accuracy", "grounding_accuracy", "grounding_accuracy_type_matched",
        "text_accuracy", "swipe_direction_accuracy", "step_success_rate",
    ]  # fmt: skip
    assert (found["step_success_rate"].value, found["step_success_rate"].n) == (1 / 3, 3)
    assert (found["grounding_accuracy"].value, found["grounding_accuracy"].n) == (1 / 2, 2)
    assert (found["grounding_accuracy_type_matched"].value, found["grounding_accuracy_type_matched"].n) == (1.0, 1)
    assert (found["swipe_direction_accuracy"].value, found["swipe_direction_accuracy"].n) == (0.0, 0)
    assert found["format_rate"].value == 0.0
