"""Graded format reward: partial credit for each part of `<think>{JSON}</think><answer>{JSON}</answer>`, or of the
answer part alone where prompts ask for no thinking. The answer may be a tool call (`overlay.action.tool_call`)."""

from collections.abc import Sequence

from overlay.action.completion import (
    ANSWER_TAG,
    MISSING,
    TAGS,
    THINK_FIELDS,
    TOOL_CALL,
    Completion,
    content_of,
    load_json,
    split,
    tags,
)
from overlay.action.tool_call import is_alone, is_whole

STEP = 0.5
HIGHEST = 5 * STEP


def score_format(text: str, thinking: bool = True, answer_format: str = ANSWER_TAG) -> float:
    """0.5 each: a think pair, JSON in it, its four fields, an answer pair, JSON in it (of a tool call, a whole one).
    Between 0 and 2.5. Without `thinking`: 1 for an answer pair, 1 for JSON in it, and then 0.5 when nothing stands
    beside it. An answer in another format than `answer_format` has nothing at all."""
    parts = split(text, answer_format)
    if _answers_otherwise(parts, answer_format):
        return 0.0
    answered, answer = parts.answer is not None, load_json(parts.answer)
    whole = is_whole(answer) if answer_format == TOOL_CALL else answer is not MISSING
    if not thinking:
        alone = whole and parts.think is None and _is_alone(parts, answer_format)
        return 2 * STEP * (answered + whole) + STEP * alone
    think = load_json(parts.think)
    return STEP * (
        (parts.think is not None)
        + (think is not MISSING)
        + (isinstance(think, dict) and all(field in think for field in THINK_FIELDS))
        + answered
        + whole
    )


def _answers_otherwise(parts: Completion, answer_format: str) -> bool:
    opening, closing = tags(answer_format)
    beside = parts.rest if parts.answer is None else "".join(parts.rest.rsplit(f"{opening}{parts.answer}{closing}", 1))
    return any(tags(other)[0] in beside for other in TAGS if other != answer_format)


def _is_alone(parts: Completion, answer_format: str) -> bool:
    if answer_format == TOOL_CALL:
        return is_alone(parts.rest, parts.answer or "")
    opening, closing = tags(answer_format)
    return parts.rest.strip() == f"{opening}{parts.answer}{closing}"


def _scores(completions: list, thinking: bool, formats: Sequence[str] | None) -> list[float]:
    asked = formats or [ANSWER_TAG] * len(completions)
    return [score_format(content_of(each), thinking, one) for each, one in zip(completions, asked, strict=True)]


def format_reward(
    completions: list, with_thinking: bool = True, answer_format: Sequence[str] | None = None, **columns: list
) -> list[float]:
    """Graded format in [0, 2.5]; `with_thinking` is the run's (`overlay.rewards.bound`), `thinking` a column of rows,
    as is `answer_format`: of `overlay.action.completion.TAGS`.

    >>> format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [2.0]
    """
    return _scores(completions, with_thinking, answer_format)


def scaled_format_reward(
    completions: list, with_thinking: bool = True, answer_format: Sequence[str] | None = None, **columns: list
) -> list[float]:
    """Graded format divided by 2.5, so in [0, 1].

    >>> scaled_format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [0.8]
    """
    return [score / HIGHEST for score in _scores(completions, with_thinking, answer_format)]
