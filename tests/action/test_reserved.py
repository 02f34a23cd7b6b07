"""What a model says of itself becomes its next prompt: it may hold no mark that a chat template takes for its own."""

import json

import pytest

from overlay.action.action import described, parse_action
from overlay.action.reserved import RESERVED, holds_reserved
from overlay.live.environment import Goal, input_of


@pytest.mark.parametrize("mark", RESERVED)
def test_a_models_own_words_hold_no_reserved_mark(mark):
    half = len(mark) // 2
    says = [f"tap the {mark} button", mark + mark, mark[:half] + mark + mark[half:], [mark], {mark: mark}]
    for words in (*says, ""):  # without words its type stands in for them
        record = {"action_type": f"click {mark}", "action_parameter": {}, "action_description": words}
        completion = f"<answer>{json.dumps(record)}</answer>"
        said = described(completion, parse_action(completion))
        assert said
        assert not holds_reserved(said)
        assert not holds_reserved(json.dumps(said, ensure_ascii=False))
    assert holds_reserved(f"a {mark} b")


def test_a_pages_own_words_hold_none_either():
    made = input_of(Goal("find <image>", ["tap <image>"], "<image>"), [], ["1.png"])
    told = [made[name] for name in ("task_content", "task_path", "app_name")]
    assert told == ["find (image)", {"1": "tap (image)"}, "(image)"]


def test_other_words_stay():
    completion = '<answer>{"action_type": "wait", "action_description": "press <b> | image> <|box_start|>"}</answer>'
    assert described(completion, None) == "press <b> | image> <|box_start|>"
