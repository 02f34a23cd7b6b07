"""`--answer_format tool_call`: what a completion earns; the other format's answer, and every trick, earns nothing."""

import json

import pytest

from benchmarks.judge_server import judge_server
from overlay.action.completion import ANSWER_TAG, THINK_FIELDS, TOOL_CALL
from overlay.metrics.flags import measure, row_flags
from overlay.rewards import REWARDS, bound
from overlay.rewards.accuracy import accuracy_reward
from overlay.rewards.format import score_format
from overlay.rewards.judge.client import Judge
from overlay.settings import JudgeArguments
from tests.rewards.test_hacking import ATTACKS, GOLD, THINK, answer, completions
from tests.rewards.test_hacking import RIGHT as BY_METHOD

COLUMN = [TOOL_CALL]


def call(arguments, name="mobile_use", **more):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments, **more})}</tool_call>"


RIGHT = call({"action": "click", "coordinate": [200, 230]})
WAIT = call({"action": "wait", "time": 2})
CUT = RIGHT[: -len("</tool_call>")]
# name: (completion, most of gui_action with `click`, format with thinking, without)
CALLS = {
    "right": (THINK + RIGHT, 0.75, 2.5, 2.0),
    "right, with what it does": (f"{THINK}Action: tap it\n{RIGHT}", 0.75, 2.5, 2.0),
    "right, alone": (f"\nAction: tap it\n{RIGHT}\n", 0.75, 1.0, 2.5),
    "wrong": (THINK + WAIT, 0.0, 2.5, 2.0),
    "no tags": (THINK + RIGHT[11:-12], 0.75, 1.5, 0.0),
    "cut: never closed": (THINK + CUT, 0.0, 1.5, 0.0),
    "cut: the object is open": (THINK + CUT[:-2] + "</tool_call>", 0.68, 2.0, 1.0),
    "cut, no tags": (THINK + RIGHT[11:-13], 0.0, 1.5, 0.0),
    "two calls": (THINK + WAIT + RIGHT, 0.0, 1.5, 0.0),
    "the same call twice": (THINK + RIGHT + RIGHT, 0.0, 1.5, 0.0),
    "a call and a cut one": (THINK + RIGHT + CUT, 0.0, 1.5, 0.0),
    "a call in a call": (THINK + f"<tool_call>{RIGHT}</tool_call>", 0.0, 1.5, 0.0),
    "two calls in a list": (THINK + f"<tool_call>[{RIGHT[11:-12]}, {WAIT[11:-12]}]</tool_call>", 0.0, 2.0, 1.0),
    "in the think part": (f"<think>{RIGHT}</think>", 0.0, 0.5, 0.0),
    "in the think part, wrong outside": (f"<think>{RIGHT}</think>{WAIT}", 0.0, 1.5, 2.0),
    "think is never closed": (f"<think>{{}}{RIGHT}", 0.75, 1.0, 2.0),
    "broken JSON": (THINK + RIGHT.replace('"', "'"), 0.68, 2.0, 1.0),
    "no JSON": (THINK + "<tool_call>click it</tool_call>", 0.0, 2.0, 1.0),
    "an extra key": (THINK + call({"action": "click", "coordinate": [200, 230]}, id=1), 0.75, 2.0, 1.0),
    "an extra argument": (THINK + call({"action": "click", "coordinate": [200, 230], "text": "x"}), 0.75, 2.0, 1.0),
    "another tool": (THINK + call({"action": "click", "coordinate": [200, 230]}, "computer_use"), 0.0, 2.0, 1.0),
    "an action that the tool has not": (THINK + call({"action": "tap", "coordinate": [200, 230]}), 0.0, 2.0, 1.0),
    "no coordinate": (THINK + call({"action": "click"}), 0.0, 2.0, 1.0),
    "a box of the whole screen": (THINK + call({"action": "click", "coordinate": [0, 0, 400, 460]}), 0.0, 2.0, 1.0),
    "a coordinate without end": (THINK + call({"action": "click", "coordinate": [int("9" * 4000), 1]}), 0.0, 2.5, 2.0),
    "not a number": (THINK + RIGHT.replace("[200, 230]", "[NaN, NaN]"), 0.0, 2.0, 1.0),
    "all arguments": (
        THINK + call({"action": "wait", "coordinate": [200, 230], "text": "x", "button": "Back"}), 0.0, 2.0, 1.0
    ),
    "our action in a call": (THINK + f"<tool_call>{GOLD}</tool_call>", 0.0, 2.0, 1.0),
    "our action as arguments": (THINK + call(json.loads(GOLD)), 0.0, 2.0, 1.0),
    "the answer tag": (answer(GOLD), 0.0, 0.0, 0.0),
    "the answer tag around a call": (answer(RIGHT), 0.75, 0.0, 0.0),
    "the answer tag, then a call": (answer(GOLD) + RIGHT, 0.75, 0.0, 0.0),
    "a call with other words": (THINK + f"So it is done: {RIGHT}", 0.75, 2.5, 2.0),
    "1 MB of open calls": ("<tool_call>" * 90_000, 0.0, 0.0, 0.0),
    "nested without end": (f"<tool_call>{'[' * 100_000}</tool_call>", 0.0, 0.5, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_earns(name):
    text, action, thinking, direct = CALLS[name]
    given = REWARDS["gui_action"](completions(text), solution=[GOLD], answer_format=COLUMN)
    assert given == [pytest.approx(action, abs=0.01)]
    assert accuracy_reward(completions(text), [GOLD], ["gui_action"], answer_format=COLUMN) == given
    assert REWARDS["format"](completions(text), answer_format=COLUMN) == [thinking]
    (scaled,) = bound([REWARDS["format_scaled"]], None, "box", thinking=False)
    assert scaled(completions(text), answer_format=COLUMN) == [direct / 2.5]
    flags = row_flags(text, GOLD, answer_format=TOOL_CALL)
    assert (flags["step_success_rate"], flags["format_rate"]) == (action > 0, thinking == 2.5)
    assert measure([text], [GOLD], answer_format=TOOL_CALL)["step_success_rate"].value == (action > 0)


def test_a_point_is_worth_all_where_points_are_scored():
    given = REWARDS["gui_action"](completions(RIGHT), solution=[GOLD], answer_format=COLUMN, click="point")
    assert given == [1.0]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_no_answer_in_tags(name):
    """As the prompt asks for `<answer>`: nothing of what is not between its tags counts."""
    text, *_ = CALLS[name]
    if "<answer>" not in text:
        assert REWARDS["gui_action"](completions(text), solution=[GOLD]) == [0.0]
        outside = text.rpartition("</think>")[2]
        assert REWARDS["format"](completions(text)) == [
            0.0 if "<tool_call>" in outside else 0.5 if "in" in name else 1.5
        ]
        assert row_flags(text, GOLD)["step_success_rate"] is False


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_of_the_other_format_earn_nothing(name):
    text, _, most = ATTACKS[name]
    assert REWARDS["gui_action"](completions(text), solution=[GOLD], answer_format=COLUMN) == [0.0]
    form = REWARDS["format"](completions(text), answer_format=COLUMN)[0]
    assert form == 0 if "<answer>" in text.split("</think>")[-1] else form <= most
    for method, (gold, _) in BY_METHOD.items():
        assert accuracy_reward(completions(text), [gold], [method], answer_format=COLUMN)[0] < 0.5, method


def test_rows_of_both_formats_in_a_batch():
    texts = completions(THINK + RIGHT) + completions(answer(GOLD))
    for order, expected in (((TOOL_CALL, ANSWER_TAG), [2.5, 2.5]), ((ANSWER_TAG, TOOL_CALL), [0.0, 0.0])):
        assert REWARDS["format"](texts, answer_format=list(order)) == expected
        given = REWARDS["gui_action"](texts, solution=[GOLD, GOLD], answer_format=list(order), click="point")
        assert given == [score / 2.5 for score in expected]


def test_the_judge_sees_the_action(monkeypatch):
    with judge_server("1.0") as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.base)
        judge = Judge(JudgeArguments(judge_model="m", judge_cache_dir="", judge_retries=0))
        accuracy_reward(completions(THINK + RIGHT), [GOLD], ["llm"], judge=judge, answer_format=COLUMN)
        asked = json.dumps(server.requests[0])
    assert "action_type" in asked
    assert "coordinate" not in asked


def test_the_think_part_is_that_of_the_other_format():
    for think in (
        "<think>null</think>",
        "<think>{",
        f"<think>{json.dumps(dict.fromkeys(THINK_FIELDS[:3], ''))}</think>",
    ):
        assert score_format(think + RIGHT, answer_format=TOOL_CALL) == score_format(f"{think}<answer>{GOLD}</answer>")
