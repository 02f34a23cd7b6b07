"""Tasks over a JSON state: what is said, which end state is right, and one way there.

An app's module has `TITLE`, `start(draw) -> state` and `TEMPLATES`: functions (draw, state) → Task, which may arrange
the state first. Texts are "English|Chinese".
"""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

State = dict[str, Any]
LANGUAGES = ("en", "zh")
GONE = object()  # what is asked for is that a path is no more


@dataclass(frozen=True)
class More:
    """What is asked for is one more at the end of a list."""

    value: Any


@dataclass(frozen=True)
class Task:
    """`says`: to the model; `steps`: what an oracle does ("verb:path:value" of an element, "hold:" before a long
    press, "type:" before a text); `wants`: path → value, all that may differ in the end from the start. A task is
    `impossible` when saying so, and leaving everything as it is, is right."""

    says: str
    steps: list[str]
    wants: dict[str, Any] = field(default_factory=dict)
    impossible: bool = False

    @property
    def answer(self) -> str:
        """The action that ends it."""
        return "task_impossible" if self.impossible else "task_completed"


Template = Callable[["Draw", State], Task]


class Draw:
    """What an app draws its state and tasks with. `lang`: en or zh."""

    def __init__(self, rng: random.Random, lang: str):
        self.rng, self.lang = rng, lang

    def t(self, pair: str) -> str:
        """The text in this language."""
        return pair.split("|")[LANGUAGES.index(self.lang)] if "|" in pair else pair

    def some(self, pairs: Sequence[str], count: int) -> list[str]:
        """Different texts."""
        return [self.t(pair) for pair in self.rng.sample(pairs, count)]

    def one(self, pairs: Sequence[Any], besides: Sequence[Any] = ()) -> Any:
        """Any, in this language if it is text, that is not among others."""
        found = [self.t(each) if isinstance(each, str) else each for each in pairs]
        return self.rng.choice([each for each in found if each not in besides])

    def coin(self) -> bool:
        """Yes or no."""
        return self.rng.random() < 0.5

    def pick(self, records: list[State], **values: Any) -> int:
        """Number of any of the records, which has these `values` from now on."""
        number = self.rng.randrange(len(records))
        records[number].update(values)
        return number

    def two(self, records: list[State], **values: Any) -> tuple[int, int]:
        """Numbers, ascending, of two of the records, which have these `values` from now on."""
        first, second = sorted(self.rng.sample(range(len(records)), 2))
        records[first].update(values)
        records[second].update(copy.deepcopy(values))
        return first, second

    def task(self, pair: str, said: Sequence[Any], steps: list[str], wants: State | None = None) -> Task:
        """A task; `said` stands at the {} of its text. Without `wants` it is impossible."""
        return Task(self.t(pair).format(*map(self.named, said)), steps, wants or {}, wants is None)

    def named(self, value: Any) -> str:
        """What a text says of a value."""
        return self.t(value) if isinstance(value, str) else str(value)


def changed(start: State, wants: State) -> State:
    """The start with what is wanted, later entries first to go."""
    state = copy.deepcopy(start)
    for path, value in sorted(wants.items(), key=lambda each: each[1] is GONE):
        at, key = _at(state, path)
        if isinstance(value, More):
            at[key].append(copy.deepcopy(value.value))
        elif value is not GONE:
            at[key] = copy.deepcopy(value)
    for path in sorted((p for p, value in wants.items() if value is GONE), key=_order, reverse=True):
        at, key = _at(state, path)
        del at[key]
    return state


def judge(start: State, task: Task, end: State, answer: str) -> float:
    """1 when the end state is the start with what the task wants and nothing else, and `answer` is its last word."""
    return float(answer == task.answer and end == changed(start, task.wants))


def _order(path: str) -> list[tuple[bool, int, str]]:
    return [(key.isdigit(), int(key) if key.isdigit() else 0, key) for key in path.split(".")]


def _at(state: Any, path: str) -> tuple[Any, Any]:
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in way:
        state = state[key]
    return state, last
