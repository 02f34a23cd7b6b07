"""A question with some of its step's input changed: what a protocol tells, or a history in the model's own words."""

import json
from collections.abc import Mapping
from typing import Any

from overlay.prompt.template import render_question, step_input, template_of

HISTORY = "history_path_all"


def with_fields(problem: str, changed: dict[str, Any]) -> str:
    """A question with some fields of the step's input changed, and the sentence about its screens as they then are."""
    known, (before, fields) = template_of(problem), step_input(problem)
    fields = {**fields, **changed}
    if known:
        return render_question(known[0], fields, known[1])
    return before + json.dumps(fields, ensure_ascii=False)


def step_of(problem: str) -> int:
    """Which step of its task a question asks for, from 1: one more than its history has."""
    told = step_input(problem)[1].get(HISTORY)
    return len(told) + 1 if isinstance(told, list) else 1


def in_own_words(problem: str, step: int, said: Mapping[int, str]) -> str:
    """The question of a task's `step` with what the model `said` (step → words) in its history, which may tell the last
    steps only."""
    told = step_input(problem)[1].get(HISTORY)
    if not isinstance(told, list) or not told or not said:
        return problem
    first = step - len(told)
    return with_fields(problem, {HISTORY: [said.get(first + n, words) for n, words in enumerate(told)]})
