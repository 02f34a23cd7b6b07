"""A completion that servers with reasoning parsers take apart is read as the model wrote it."""

import json

import pytest

from overlay.action.completion import THINK_FIELDS, split
from overlay.chat import NoAnswer, read_reply
from overlay.metrics.flags import row_flags
from overlay.rewards.format import score_format

T = json.dumps(dict.fromkeys(THINK_FIELDS, "x"))
A = '{"action_type": "wait", "action_parameter": {"wait": ""}}'
ANSWER = f"<answer>{A}</answer>"
RAW = f"<think>{T}</think>{ANSWER}"


def reply(content, reasoning=None, field="reasoning_content", finish="stop"):
    message = {"content": content} | ({} if reasoning is None else {field: reasoning})
    return read_reply(json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode())


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("content", "reasoning"),
    [
        (RAW, None),
        (RAW, ""),
        (ANSWER, T),
        (f"\n\n{ANSWER}", f"\n{T}\n"),
        (ANSWER, f"<think>{T}"),
        (ANSWER, f"<think>{T}</think>"),
        (ANSWER, f"{T}</think>"),
        (f"</think>{ANSWER}", T),
        (f"\n</think>{ANSWER}", f"<think>{T}"),
        (RAW, T),  # a copy of it apart
        (None, RAW),
        ("", RAW),
        ([{"type": "text", "text": ANSWER}], T),
        ([{"type": "text", "text": ANSWER}], [{"type": "text", "text": T}]),
    ],
)
def test_every_way_is_read_alike(content, reasoning, field):
    text = reply(content, reasoning, field).text
    assert split(text).think.strip() == T
    assert split(text).answer == A
    assert score_format(text) == score_format(RAW) == 2.5
    assert row_flags(text, A) == row_flags(RAW, A)


@pytest.mark.parametrize("raw", [ANSWER, A, f"<think>{T}{ANSWER}", f"<think>{T}", T, "no tags", RAW[:-9], RAW])
def test_a_text_that_is_all_reasoning_scores_as_it_is(raw):
    """A parser that meets no `</think>` calls everything reasoning, and takes `<think>` off its start."""
    for handed in (raw, raw.removeprefix("<think>") if "</think>" not in raw else raw):
        text = reply(None, handed).text
        assert row_flags(text, A) == row_flags(raw, A)
        assert score_format(text) == score_format(raw)


def test_a_text_without_a_parser_is_to_the_letter():
    for raw in (f"{T}</think>{ANSWER}", "</think>", "", " ", f"<think>{T}"):
        assert reply(raw).text == raw
    assert reply(ANSWER, {"a": 1}).text == ANSWER
    assert reply(None).text == ""  # said nothing, and stopped: an answer, and a wrong one


def test_why_the_model_stopped_is_told():
    assert reply(RAW, finish="length").finish == "length"
    assert reply(RAW, finish=["length"]).finish is None
    with pytest.raises(NoAnswer, match=r"ended by the server \(content_filter\)"):
        reply(RAW, finish="content_filter")


def test_a_servers_words_are_one_short_line():
    with pytest.raises(NoAnswer) as error:
        read_reply(json.dumps({"error": {"message": "a\nb " * 500}}).encode())
    assert len(str(error.value)) < 260
    assert "\n" not in str(error.value)
