"""An answer as a tool call: our actions in it and back, what is none, what it says that it does."""

import json

import pytest

from overlay.action.action import ACTION_NAMES, Action, answer_text, as_answer_tag, described, parse_action
from overlay.action.completion import TOOL_CALL
from overlay.action.tool_call import is_whole

INQUIRY = json.dumps({"Question": "哪天？", "CandidatesList": ["今天"], "PicDescribe": "", "AnswerIndex": 0})
GOLDS = {
    "open_app": "微信", "click": "100,200,301,260", "long_click": "10,20,30,40", "type": 'say "无锡"\n</tag>',
    "swipe": "158,1557,122,1253", "task_completed": "已完成", "task_impossible": "无法完成", "inquiry": INQUIRY,
    "wait": "", "back": "",
}  # fmt: skip
CALLED = {"click": [200, 230], "long_click": [20, 30], "swipe": [158, 1557, 122, 1253]}


def gold(kind, parameter, says="按下"):
    return json.dumps(
        {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": says}, ensure_ascii=False
    )


def called(text):
    return json.loads(text.partition("<tool_call>")[2].partition("</tool_call>")[0])


def call(**arguments):
    return f"<tool_call>{json.dumps({'name': 'mobile_use', 'arguments': arguments})}</tool_call>"


@pytest.mark.parametrize(("kind", "parameter"), GOLDS.items())
def test_a_gold_action_as_a_call_is_read_back(kind, parameter):
    text = answer_text(gold(kind, parameter), TOOL_CALL)
    assert text.startswith("Action: 按下\n<tool_call>\n{")
    assert is_whole(called(text))
    assert parse_action(text, TOOL_CALL) == Action(kind, CALLED.get(kind, parameter))
    assert described(f"<think>{{}}</think>{text}", Action(kind), TOOL_CALL) == "按下"
    assert parse_action(text) is None  # the answer of another format is none, either way
    assert parse_action(answer_text(gold(kind, parameter)), TOOL_CALL) is None
    assert parse_action(as_answer_tag(text, TOOL_CALL)).type == kind


def test_every_action_has_a_call():
    assert set(GOLDS) == set(ACTION_NAMES)
    assert answer_text(gold("task_completed", "", says=""), TOOL_CALL) == (
        '<tool_call>\n{"name": "mobile_use", "arguments": {"action": "terminate", "status": "success"}}\n</tool_call>'
    )


@pytest.mark.parametrize("text", ["4", '{"action_type": "fly"}', gold("click", "here"), '{"Answer": 1}', "[1]"])
def test_what_no_call_says(text):
    with pytest.raises(ValueError, match=r"no action that a tool call says|no coordinates"):
        answer_text(text, TOOL_CALL)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (call(action="answer", text="42"), Action("task_completed", "42")),  # Qwen3-VL's and GUI-Owl's
        (call(action=" Click", coordinate=["3", 4.5]), Action("click", ["3", 4.5])),
        (call(action="system_button", button="Home"), Action("home", "home")),  # no action of ours
        (call(action="terminate", status="maybe"), Action("terminate", None)),
        (call(action="click", coordinate=[1, 2, 3, 4]), Action("click", None)),  # a box is no point
        (call(action="click", coordinate=[[1, 2], [3, 4]]), Action("click", None)),
        (call(action="swipe", coordinate=[1, 2]), Action("swipe", None)),
        (call(action="click", text="x"), Action("click", None)),
        (call(), None), (call(action=7), None),
        ('<tool_call>{"name": "mobile_use", "arguments": "click"}</tool_call>', None),
        ('<tool_call>{"name": "mobile_use"}</tool_call>', None), ("<tool_call>[]</tool_call>", None),
        ('<tool_call>{"name": ["mobile_use"], "arguments": {"action": "wait"}}</tool_call>', None),
    ],
)  # fmt: skip
def test_calls_of_others(text, action):
    assert parse_action(text, TOOL_CALL) == action


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Thought: so. Action: "Tap  it"\n<tool_call>x', "Tap it"), ("<tool_call>{}</tool_call> Action: late", "back"),
        ("Action: see <|im_end|>\n<tool_call>", "see (im_end)"), ("", "back"),
    ],
)  # fmt: skip
def test_what_it_says_that_it_does(text, said):
    assert described(text, Action("back"), TOOL_CALL) == said
