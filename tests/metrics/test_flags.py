"""What an answer got right, by hand: flags, and the metrics of training's evaluation and the demo."""

import json

import pytest

from overlay.action.action import ACTION_NAMES, Action
from overlay.action.match import match, same_text
from overlay.action.space import SPACES, Space, rescale_action
from overlay.errors import DataError
from overlay.metrics.flags import METRICS, gold_action, measure, row_flags, ruled, succeeds
from overlay.metrics.rules import RULES
from overlay.metrics.rules.step import Screen

SIZE = (1000.0, 2000.0)


def action(kind, parameter=""):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""})


def flags(completion, gold, **known):
    return row_flags(completion, gold, Screen(SIZE, **known))


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        # Gold box 100..200 x 100..300 on 1000 x 2000: its centre is 150,200. No element is annotated.
        ("150,200", {"box": True, "box x1.2": True, "aitw": True, "agentcpm-ac": True}),
        ("205,200", {"box": False, "box x1.2": True, "aitw": True, "agentcpm-ac": False}),  # 0.055 of the width off
        ("150,460", {"box": False, "box x1.2": False, "aitw": True, "agentcpm-ac": False}),  # 0.13 of the height off
        ("900,200", {"box": False, "box x1.2": False, "aitw": False, "agentcpm-ac": False}),
    ],
)
def test_one_answer_by_every_rule(point, expected):
    found = flags(action("click", point), action("click", "100,100,200,300"), elements=[])
    others = {rule: found[f"step_success_rate ({rule})"] for rule in RULES if rule != "box"}
    assert {"box": found["step_success_rate"]} | others == others | expected
    assert found["grounding_accuracy"] == expected["box"]


def test_flags_are_there_only_where_they_mean_something():
    wrong = flags(action("wait"), action("click", "100,100,200,300"))
    assert wrong["grounding_accuracy"] is False  # over all click steps
    assert wrong["grounding_accuracy_type_matched"] is None  # over those with the right type
    text = flags(action("type", "无锡"), action("type", "无锡"))
    assert text["text_accuracy"] is True
    assert text["grounding_accuracy"] is text["description_accuracy"] is None
    swipe = flags(action("swipe", "100,500,100,100"), action("swipe", "50,400,60,90"))
    assert swipe["swipe_direction_accuracy"] is True
    down = flags(action("swipe", "100,100,100,500"), action("swipe", "50,400,60,90"))
    assert down["swipe_direction_accuracy"] is False
    assert flags("no answer", action("wait"))["answer_type"] == "none"


def test_a_further_right_action_counts_by_every_rule_that_judges_the_row():
    gold, also = action("click", "100,100,200,300"), (Action("back", ""), Action("click", "700,1500,800,1600"))
    known = {"elements": [(100, 100, 200, 300), (500, 500, 600, 600)], "candidates": [(100, 100, 200, 300)]}
    other = flags(action("click", "750,1550"), gold, also=also, tap=(150, 200), **known)
    assert all(other[name] for name in other if name.startswith("step_success_rate"))
    assert other["grounding_accuracy"] is other["grounding_accuracy_type_matched"] is True
    back = flags(action("back"), gold, also=also, **known)
    assert back["step_success_rate"] is back["action_type_accuracy"] is back["grounding_accuracy"] is True
    assert back["grounding_accuracy_type_matched"] is None
    assert back["step_success_rate (ui-r1)"] is True
    # An annotated element that no right action means is none, whatever a rule makes of elements by gold alone.
    wrong = action("click", "550,550")
    assert flags(wrong, gold, also=also, **known) == flags(wrong, gold, **known)
    # Rows that a rule cannot judge by their gold it does not judge at all: N stays that of the rows.
    assert flags(action("back"), gold, also=also)["step_success_rate (aitw)"] is None


def test_text_metrics_take_the_best_of_several_right_texts():
    gold, also = action("type", "Wuxi"), (Action("type", "无锡"), Action("click", "1,1,9,9"))
    assert flags(action("type", "无锡"), gold, also=also)["text_accuracy"] is True
    assert flags(action("type", "苏州"), gold, also=also)["text_accuracy"] is False
    assert flags(action("click", "5,5"), gold, also=also)["text_accuracy"] is True
    assert flags(action("click", "50,50"), gold, also=also)["text_accuracy"] is False
    swipe = flags(action("back"), action("swipe", "100,500,100,100"), also=(Action("back", ""),))
    assert swipe["swipe_direction_accuracy"] is True


def test_typed_text_is_apart_from_names_and_descriptions():
    for kind, parameter in (("open_app", "Clock"), ("task_completed", "done"), ("task_completed", ""), ("wait", "")):
        assert flags(action(kind, parameter), action(kind, parameter))["text_accuracy"] is None
    assert flags(action("task_completed", "all done"), action("task_completed", "done"))["description_accuracy"] is True
    assert flags(action("wait"), action("task_impossible", "no such app"))["description_accuracy"] is False
    assert flags(action("task_completed", "x"), action("task_completed", ""))["description_accuracy"] is None


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("wuxi", "Wuxi", True), (" Wuxi ", "Wuxi", True), ("Wuxi city", "Wuxi", True), ("pizza", "best pizza", True),
        ("ＡＢＣ", "abc", True), ("new  york", "New York", True), ("12：30", "12:30", True),
        ("冯·诺依曼", "冯诺依曼", False),
        ("abd", "abc", False), ("", "abc", False), ("abc", "", False), ("", "", True), (" ", "", True),
    ],
)  # fmt: skip
def test_our_text_rule(answer, gold, expected):
    assert same_text(answer, gold) is expected
    assert flags(action("type", answer), action("type", gold))["text_accuracy"] is expected
    assert flags(action("open_app", answer), action("open_app", gold))["step_success_rate"] is (expected or not gold)


INQUIRY = {"Question": "Which one?", "CandidatesList": ["a", "b"], "PicDescribe": "", "AnswerIndex": 1}


@pytest.mark.parametrize("kind", ACTION_NAMES)
def test_a_full_reward_is_a_success(kind):
    """Whatever the reward gives all it has for, the metric calls right: empty golds and other spellings too."""
    same = json.dumps(INQUIRY)
    given = {
        "inquiry": (same, [json.dumps({**INQUIRY, "AnswerIndex": "1", "Question": "WHICH  one?"}), same, "Which one?"]),
        "click": ("1,2,9,9", ["1,2,9,9", "[1, 2, 9, 9]", "5,5"]), "swipe": ("1,9,1,2", ["1,9,1,2", "2,9,2,2"]),
        "wait": ("", ["", "x"]), "back": ("", ["", "x"]),
    }  # fmt: skip
    gold, answers = given.get(kind if kind != "long_click" else "click", ("done", ["done", "DONE", "", "else"]))
    for wanted in (gold, "") if kind not in ("click", "long_click", "swipe", "inquiry") else (gold,):
        full = [text for text in answers if match(Action(kind, text), Action(kind, wanted)) == 1.0]
        assert full
        for text in full:
            found = flags(action(kind, text), action(kind, wanted))
            assert found["step_success_rate"] is True
            assert found["text_accuracy"] in (True, None)
            assert found["description_accuracy"] in (True, None)


def test_an_inquiry_with_another_answer_is_wrong():
    gold = Action("inquiry", json.dumps(INQUIRY))
    assert not succeeds(Action("inquiry", json.dumps({**INQUIRY, "AnswerIndex": 0})), gold)
    assert not succeeds(Action("inquiry", json.dumps({**INQUIRY, "Question": "Where to?"})), gold)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [(1080, 2400), (2400, 1080), (270, 600), (1024, 768)])
def test_a_verdict_is_the_same_in_every_space(space, size):
    """A swipe that crosses more of the width than of the height is sideways, however many pixels that is."""
    scale = Space(space).scale(*size)
    screen = Screen(size, scale, elements=[])
    width, height = size
    gold = action("swipe", f"{0.5 * width:.0f},{0.5 * height:.0f},{0.1 * width:.0f},{0.2 * height:.0f}")  # left
    for (dx, dy), expected in {(-0.3, 0.25): True, (-0.25, 0.3): False, (0.3, 0.25): False}.items():
        path = [0.5 * width, 0.5 * height, (0.5 + dx) * width, (0.5 + dy) * height]
        answer = action("swipe", ",".join(f"{value:.0f}" for value in path))
        told = [rescale_action(text, scale) for text in (answer, gold)]
        found = row_flags(*told, screen)
        assert found["swipe_direction_accuracy"] is expected
        assert found["step_success_rate (agentcpm)"] is expected
        model = (width * scale[0], height * scale[1])
        assert (match(*map(gold_action, told), model) > 0.5) is expected  # the reward agrees
    for text, kind in ((f"{0.6 * width:.0f},{0.3 * height:.0f}", "click"), (f"{0.52 * width:.0f},10", "click")):
        box = action(kind, f"{0.5 * width:.0f},0,{0.7 * width:.0f},{0.5 * height:.0f}")
        found = row_flags(rescale_action(action(kind, text), scale), rescale_action(box, scale), screen)
        plain = row_flags(action(kind, text), box, Screen(size, elements=[]))
        assert found == plain


def test_gold_that_is_no_action_is_said():
    with pytest.raises(DataError, match="gold is no action: 4"):
        row_flags(action("wait"), "4")


def test_a_metric_that_depends_on_the_rule_says_so():
    named = {ruled(name) for name in (*METRICS, "task_success_rate")}
    assert {"grounding_accuracy (box)", "step_success_rate (aitw)", "step_success_rate (box)", "text_accuracy"} < named
    assert ruled("step_success_rate", "aitw") == "step_success_rate (aitw)"
    assert "format_rate" in named


def test_success_rules():
    box = Action("click", "10,10,50,50")
    assert succeeds(Action("click", "12,12"), box)
    assert succeeds(Action("click", "0,0,100,100"), box)  # its centre is in the gold box
    assert not succeeds(Action("click", "60,60,70,70"), box)
    assert succeeds(Action("swipe", "0,100,0,90"), Action("swipe", "50,500,50,100"))
    assert not succeeds(Action("swipe", "0,90,0,100"), Action("swipe", "50,500,50,100"))
    assert not succeeds(Action("swipe", "0,90,0,100"), Action("swipe", "down"))  # gold without a path
    assert succeeds(Action("task_completed", "whatever"), Action("task_completed", "done"))
    assert not succeeds(Action("type", "abd"), Action("type", "abc"))
    assert not succeeds(None, box)


def test_every_metric_has_its_n():
    gold, wait = action("click", "1,2,3,4"), action("wait")
    found = measure([f"<answer>{gold}</answer>", f"<answer>{wait}</answer>", "nothing"], [gold, gold, wait])
    assert list(found) == [
        "format_rate", "action_type_accuracy", "grounding_accuracy", "grounding_accuracy_type_matched",
        "text_accuracy", "description_accuracy", "swipe_direction_accuracy", "step_success_rate",
    ]  # fmt: skip
    assert (found["step_success_rate"].value, found["step_success_rate"].n) == (1 / 3, 3)
    assert (found["grounding_accuracy"].value, found["grounding_accuracy"].n) == (1 / 2, 2)
    assert (found["grounding_accuracy_type_matched"].value, found["grounding_accuracy_type_matched"].n) == (1.0, 1)
    assert (found["swipe_direction_accuracy"].value, found["swipe_direction_accuracy"].n) == (0.0, 0)
    assert found["format_rate"].value == 0.0
