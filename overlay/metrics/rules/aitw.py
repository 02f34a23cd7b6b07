"""Android in the Wild's action matching, and AgentCPM-GUI's evaluator, which grew out of it.

Both judge on shares of the screen, and take a finger that moves at most 0.04 for a tap.
"""

from functools import partial
from math import dist

from overlay.action.action import BOX_TYPES, Action, centre, contains, direction
from overlay.metrics.rules.step import Point, Rule, Step, grown_on_screen, path, point
from overlay.metrics.rules.texts import contained, texts

TAP = 0.04  # a finger that moves no further has tapped
NEAR = 0.14
NEAR_CONTROL = 0.04  # AgentCPM's distance on AndroidControl
GROWN, GROWN_AGENT = 2.4, 1.2
NEAREST = 5  # elements that AgentCPM looks at on AndroidControl
STOPS = ("task_completed", "task_impossible", "wait", "inquiry")


def _ends(action: Action, step: Step, at: Point | None) -> tuple[Point, Point] | None:
    """Touch and lift of a click at `at`, or of a swipe, in shares."""
    if action.type == "click":
        return (step.share(at), step.share(at)) if at else None
    if (finger := path(action)) is None:
        return None
    x1, y1, x2, y2 = finger
    return step.share((x1, y1)), step.share((x2, y2))


def _taps(ends: tuple[Point, Point]) -> bool:
    return dist(*ends) <= TAP


def _same_element(one: Point, other: Point, step: Step) -> bool:
    """Whether two taps are in one annotated element, grown."""
    boxes = [grown_on_screen(box, GROWN) for box in step.shares(step.screen.elements or ())]
    return any(contains(box, *one) and contains(box, *other) for box in boxes)


def _aitw(answer: Action, step: Step) -> bool | None:
    gestures = ("click", "swipe")
    if step.gold.type not in gestures or answer.type not in gestures:
        return answer.type == step.gold.type
    gold, answered = _ends(step.gold, step, step.tap), _ends(answer, step, point(answer))
    if gold is None:
        return None
    if answered is None or _taps(gold) != _taps(answered):
        return False
    if _taps(gold):
        return dist(gold[0], answered[0]) <= NEAR or _same_element(gold[0], answered[0], step)
    # A drag is right by its axis alone, whichever way it goes.
    down = [abs(y2 - y1) >= abs(x2 - x1) for (x1, y1), (x2, y2) in (gold, answered)]
    return down[0] == down[1]


def _agent(answer: Action, step: Step, control: bool) -> bool | None:
    gold = step.gold.type
    if gold in STOPS:
        return answer.type in STOPS
    touch = step.share(step.tap) if gold in BOX_TYPES and step.tap else None
    if gold == "swipe" and (ends := _ends(step.gold, step, None)):
        if not _taps(ends):
            wanted = direction(path(step.gold), step.size)
            return answer.type == "swipe" and direction(path(answer), step.size) == wanted
        gold, touch = "click", ends[0]
    if answer.type != gold:
        return False
    if gold == "type":
        return contained(*texts(answer, step.gold))
    if gold == "back":
        return True
    if touch is None:
        return None
    where = point(answer)
    return where is not None and _agent_click(step.share(where), touch, step, control)


def _agent_click(answered: Point, gold: Point, step: Step, control: bool) -> bool:
    boxes = [grown_on_screen(box, GROWN_AGENT) for box in step.shares(step.screen.elements or ())]
    if control:
        boxes = sorted(boxes, key=lambda box: dist(centre(box), gold))[:NEAREST]
    else:
        boxes = [box for box in boxes if contains(box, *gold)]
    near = dist(answered, gold) <= (NEAR_CONTROL if control else NEAR)
    return near or any(contains(box, *answered) for box in boxes)


AITW = Rule(
    _aitw, frozenset(("click", "swipe", "type", "back", "task_completed", "task_impossible")),
    "taps in one annotated element (boxes grown by 2.4) or at most 0.14 of the screen apart; drags along the same "
    "axis; else the type",
    "https://github.com/google-research/google-research/blob/master/android_in_the_wild/action_matching.py",
    {"click": ("size", "elements"), "swipe": ("size",)}, taps=True,
)  # fmt: skip
_AGENT = (
    frozenset(("click", "long_click", "swipe", "type", "back", "task_completed", "task_impossible", "wait")),
    "https://github.com/OpenBMB/AgentCPM-GUI/blob/main/eval/utils/evaluator.py",
    dict.fromkeys(("click", "long_click"), ("size", "elements")) | {"swipe": ("size",)},
)
AGENTCPM = Rule(
    partial(_agent, control=False), _AGENT[0],
    "a tap in an annotated element (grown by 1.2) that holds the gold tap, or at most 0.14 of the screen from it; the "
    "direction of a swipe; one text holds the other; all ways to stop are one",
    *_AGENT[1:], taps=True,
)  # fmt: skip
AGENTCPM_CONTROL = Rule(
    partial(_agent, control=True), _AGENT[0],
    "as agentcpm, in one of the 5 elements (grown by 1.2) nearest to the gold tap, or at most 0.04 of the screen from "
    "it",
    *_AGENT[1:], taps=True,
)  # fmt: skip
