"""Graded format reward: partial credit for each part of `<think>{JSON}</think><answer>{JSON}</answer>`."""

from overlay.action.completion import MISSING, THINK_FIELDS, content_of, load_json, split

STEP = 0.5
HIGHEST = 5 * STEP


def score_format(text: str) -> float:
    """0.5 each: a think pair, JSON in it, its four fields, an answer pair, JSON in it. Between 0 and 2.5."""
    parts = split(text)
    think, answer = load_json(parts.think), load_json(parts.answer)
    return STEP * (
        (parts.think is not None)
        + (think is not MISSING)
        + (isinstance(think, dict) and all(field in think for field in THINK_FIELDS))
        + (parts.answer is not None)
        + (answer is not MISSING)
    )


def format_reward(completions: list, **columns: list) -> list[float]:
    """Graded format in [0, 2.5].

    >>> format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [2.0]
    """
    return [score_format(content_of(completion)) for completion in completions]


def scaled_format_reward(completions: list, **columns: list) -> list[float]:
    """Graded format divided by 2.5, so in [0, 1].

    >>> scaled_format_reward([[{"role": "assistant", "content": "<think>{}</think><answer>{}</answer>"}]])
    [0.8]
    """
    return [score_format(content_of(completion)) / HIGHEST for completion in completions]
