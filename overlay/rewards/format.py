"""Graded format reward: partial credit for each part of `<think>{JSON}</think><answer>{JSON}</answer>`, or of the
answer part alone where prompts ask for no thinking."""

from overlay.action.completion import MISSING, THINK_FIELDS, content_of, load_json, split

STEP = 0.5
HIGHEST = 5 * STEP


def score_format(text: str, thinking: bool = True) -> float:
    """0.5 each: a think pair, JSON in it, its four fields, an answer pair, JSON in it. Between 0 and 2.5. Without
    `thinking`: 1 for an answer pair, 1 for JSON in it, and then 0.5 when nothing stands beside it."""
    parts = split(text)
    if not thinking:
        answered, whole = parts.answer is not None, load_json(parts.answer) is not MISSING
        alone = whole and text.strip() == f"<answer>{parts.answer}</answer>"
        return 2 * STEP * (answered + whole) + STEP * alone
    think, answer = load_json(parts.think), load_json(parts.answer)
    return STEP * (
        (parts.think is not None)
        + (think is not MISSING)
        + (isinstance(think, dict) and all(field in think for field in THINK_FIELDS))
        + (parts.answer is not None)
        + (answer is not MISSING)
    )


def format_reward(completions: list, with_thinking: bool = True, **columns: list) -> list[float]:
    """Graded format in [0, 2.5]; `with_thinking` is the run's (`overlay.rewards.bound`), `thinking` a column of rows.

    >>> format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [2.0]
    """
    return [score_format(content_of(completion), with_thinking) for completion in completions]


def scaled_format_reward(completions: list, with_thinking: bool = True, **columns: list) -> list[float]:
    """Graded format divided by 2.5, so in [0, 1].

    >>> scaled_format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [0.8]
    """
    return [score_format(content_of(completion), with_thinking) / HIGHEST for completion in completions]
