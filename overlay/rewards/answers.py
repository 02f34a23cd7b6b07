"""The answer of a completion and of a solution, as the accuracy methods compare them."""

import re
from collections.abc import Sequence

from overlay.action.completion import split

LONGEST = 10_000  # characters of an answer that are looked at; no gold answer is longer


def answer_of(text: str) -> str:
    """The last answer pair outside the think part, else all text outside it; at most `LONGEST` characters."""
    parts = split(text)
    return (parts.rest if parts.answer is None else parts.answer).strip()[:LONGEST]


def stated_answer(text: str) -> str | None:
    """The same, but None without an answer pair."""
    return None if split(text).answer is None else answer_of(text)


def gold_of(solution: str) -> str:
    """A solution with or without `<answer>` tags, of one or several lines."""
    found = re.search(r"<answer>(.*?)</answer>", solution, re.DOTALL)
    return (found.group(1) if found else solution).strip()


def golds_of(solutions: Sequence[str], also: Sequence[Sequence[str] | None] | None) -> list[list[str]]:
    """The right answers of each row: its solution and its further ones (column `also`, None where there is none)."""
    return [
        [first, *(further or ())] for first, further in zip(solutions, also or [None] * len(solutions), strict=True)
    ]


def clean(text: str) -> str:
    """One line, lower case, without the final stop: how upstream compares texts."""
    for newline in "\n\r":
        text = re.sub(rf"(?<=\s){newline}", "", text).replace(newline, " ")
    return text.strip().rstrip(".").lower()
