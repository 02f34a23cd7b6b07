"""How far tasks get: figures of the verdicts of each task's steps, in order. Standard library only.

What is right after a task's first miss does not count, as AgentCPM-GUI (goal progress) and UI-S1 (SOP) have it.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

Verdicts = Sequence[bool]


class Share(NamedTuple):
    """A share of `n` tasks."""

    value: float
    n: int


def reached(verdicts: Verdicts) -> int:
    """Steps that are right before the first that is not.

    >>> reached([True, False, True])
    1
    """
    return [*verdicts, False].index(False)


def progress(tasks: Sequence[Verdicts]) -> list[float]:
    """How much of each task is right before its first miss, 1 for all; no task may be without steps."""
    return [reached(task) / len(task) for task in tasks]


def curve(tasks: Sequence[Verdicts]) -> list[Share]:
    """For 1, 2, ... steps up to the longest task's: the share of tasks whose first steps are all right, over those that
    have as many.

    >>> curve([[True, True], [True, False], [False]])
    [Share(value=0.6666666666666666, n=3), Share(value=0.5, n=2)]
    """
    found = []
    for steps in range(1, max(map(len, tasks), default=0) + 1):
        long = [reached(task) >= steps for task in tasks if len(task) >= steps]
        found.append(Share(fmean(long), len(long)))
    return found
