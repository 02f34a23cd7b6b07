import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.action.completion import THINK_FIELDS
from overlay.rewards import REWARDS

THINK = json.dumps(dict.fromkeys(THINK_FIELDS, "微信"), ensure_ascii=False)
ANSWER = '{"action_type": "wait", "action_parameter": {"wait": ""}}'


def say(text):
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"<think>{THINK}</think><answer>{ANSWER}</answer>", 2.5),
        (f"<think>\n{THINK}\n</think>\n<answer>\n{ANSWER}\n</answer>\n", 2.5),  # white space around JSON is fine
        (f"<think>{THINK}</think>", 1.5),
        (f"<answer>{ANSWER}</answer>", 1.0),
        (f"<think>{THINK}</think><answer>no JSON</answer>", 2.0),
        ("<think>no JSON</think><answer>no JSON</answer>", 1.0),
        ('<think>{"task_interpretation": ""}</think>', 1.0),  # three fields are missing
        ("<think>123</think>", 1.0),  # JSON, but no object
        ("<think>null</think>", 1.0),
        ("<think>[]</think>", 1.0),
        ('<think>["task_interpretation"]</think>', 1.0),
        ("<think>NaN</think>", 0.5),  # Python would read it, JSON does not know it
        ("<think></think><answer></answer>", 1.0),
        (f"<think>{THINK}<answer>{ANSWER}</answer>", 1.0),  # think is never closed
        (f"<think>{THINK}<answer>{ANSWER}</answer></think>", 0.5),  # an answer inside think is none
        (f"<think>```json\n{THINK}\n```</think>", 0.5),  # a code fence is not JSON
        ("<think>" + "[" * 100_000 + "]" * 100_000 + "</think>", 0.5),  # too deep to be read
        ("<think>" + "9" * 10_000 + "</think>", 0.5),  # more digits than Python reads
        (f"<answer>{ANSWER}</answer><answer>x</answer>", 0.5),  # the last answer counts
        ("</think></answer><think><answer>", 0.0),
        ("", 0.0),
        ("\ud800<think>\udfff</think>", 0.5),  # lone surrogates
    ],
)
def test_score(text, score):
    assert REWARDS["format"]([say(text)]) == [score]
    assert REWARDS["format_scaled"]([say(text)]) == [score / 2.5]


def test_one_score_for_each_completion_and_columns_are_ignored():
    texts = [f"<think>{THINK}</think>", "", f"<answer>{ANSWER}</answer>"]
    assert REWARDS["format"]([say(t) for t in texts], solution=["x"] * 3, images=[[], [], []]) == [1.5, 0.0, 1.0]


def test_linear_in_length():
    # Unclosed tags by the ten thousand: a regular expression would take minutes.
    assert REWARDS["format"]([say("<answer>" * 100_000), say("<think>" * 100_000)]) == [0.0, 0.0]


tagged = st.lists(
    st.one_of(
        st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", THINK, ANSWER, "{", "}", "[", "null", "\x00"]),
        st.text(st.characters(), max_size=20),
        st.text(st.characters(categories=["Cs"]), max_size=3),
    ),
    max_size=12,
).map("".join)


@given(tagged)
def test_any_text_has_a_score(text):
    (score,) = REWARDS["format"]([say(text)])
    assert score in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
