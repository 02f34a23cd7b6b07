"""Tasks on our own pages: what is to be done, screen after screen, and the one right action on each.

The task's text names what to press, hold or write in order; neither it nor the plan says where that stands, so whoever
does not look cannot do it. A page repeats names of the page before, elsewhere: whoever looks at the wrong screen fails.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from overlay.live.phone.kinds import draw
from overlay.live.phone.screen import Element, Screen
from overlay.live.phone.words import SECOND, UNSEEN

SAYS = {  # gesture: what the task asks, what the history says of it
    "en": {
        "click": ("press {name}", "pressed {name}"), "long_click": ("hold {name}", "held {name}"),
        "type": ("write {text} into {name}", "wrote {text}"),
    },
    "zh": {
        "click": ("点按{name}", "点按了{name}"), "long_click": ("长按{name}", "长按了{name}"),
        "type": ("在{name}里写{text}", "写了{text}"),
    },
}  # fmt: skip
THEN = {"en": ", then ", "zh": "，然后"}
PLAN = {"en": "do the next thing that the task names", "zh": "做任务里说的下一件事"}
APP = "phone"  # in front on every page
TRIES = 4  # pages drawn until one repeats a name of the page before
DONE_SHARE = 0.25  # of tasks that end with a step that says so
DONE = {"en": "all is done", "zh": "都做完了"}


@dataclass(frozen=True)
class Step:
    """One screen and what to do on it. `gesture`: an action type; `target`: number of the element, None where the
    action has no place; `text`: what is written or said; `name`: what the task calls the target; `said`: in the
    history afterwards."""

    screen: Screen
    gesture: str
    target: int | None
    text: str
    name: str
    said: str


@dataclass(frozen=True)
class Task:
    """`instruction` for the user's words, and its steps; the last one says that all is done where `ends`."""

    lang: str
    instruction: str
    steps: list[Step]

    @property
    def plan(self) -> list[str]:
        """A line for each step, the same for all: it gives no action away."""
        return [PLAN[self.lang]] * len(self.steps)


def draw_task(rng: random.Random, lang: str, kinds: Sequence[str], unseen: bool, first: str | None = None) -> Task:
    """A task of one to three things on pages of `kinds`, the first of kind `first` where it is given."""
    steps: list[Step] = []
    asked: list[str] = []
    shared: list[str] = []
    for number in range(rng.choices((1, 2, 3), (5, 4, 1))[0]):
        kind = first if first and not number else rng.choice(kinds)
        screen = draw(kind, rng, lang, unseen, shared)
        for _ in range(TRIES if shared else 0):
            if any(element.name in shared for element in screen.elements):
                break
            screen = draw(rng.choice(kinds), rng, lang, unseen, shared)
        found = _thing(rng, screen, lang, unseen, shared)
        asked.append(found[0])
        steps += found[1]
        shared = [each.name for each in screen.elements if each.name]
    if rng.random() < DONE_SHARE:
        steps.append(Step(draw(rng.choice(kinds), rng, lang, unseen), "task_completed", None, DONE[lang], "", ""))
    return Task(lang, THEN[lang].join(asked), steps)


def _thing(
    rng: random.Random, screen: Screen, lang: str, unseen: bool, shared: Sequence[str]
) -> tuple[str, list[Step]]:
    """What the task says of one thing, and its steps."""
    target = _choose(rng, screen, unseen, shared)
    element = screen.elements[target]
    assert element.name is not None
    if element.kind == "field":
        text = rng.choice(SECOND[lang])
        ask, wrote = (form.format(name=element.name, text=text) for form in SAYS[lang]["type"])
        tapped = SAYS[lang]["click"][1].format(name=element.name)
        return ask, [
            Step(screen, "click", target, "", element.name, tapped),
            Step(_with(screen, target, replace(element, kind="field on")), "type", None, text, element.name, wrote),
        ]
    gesture = "long_click" if "hold" in element.kind else "click"
    ask, said = (form.format(name=element.name) for form in SAYS[lang][gesture])
    return ask, [Step(screen, gesture, target, "", element.name, said)]


def _choose(rng: random.Random, screen: Screen, unseen: bool, shared: Sequence[str]) -> int:
    """A named element: with `unseen`, one whose label training never sees, else one that the page before has too,
    where there is one."""
    named = {n: element.name for n, element in enumerate(screen.elements) if element.name}
    wanted = UNSEEN if unseen else frozenset(shared)
    return rng.choice([n for n, name in named.items() if name in wanted] or list(named))


def _with(screen: Screen, number: int, element: Element) -> Screen:
    return replace(screen, elements=[element if n == number else e for n, e in enumerate(screen.elements)])
