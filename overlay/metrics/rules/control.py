"""Qwen's evaluation of AndroidControl as InfiGUI-R1 publishes it, and as UI-S1 does for how far an episode gets."""

from functools import partial
from math import dist

from overlay.action.action import Action, Box, centre, contains, direction
from overlay.metrics.rules.step import Point, Rule, Step, grown, path, point
from overlay.metrics.rules.texts import contained, texts

NEAR, GROWN = 0.04, 1.2


def _candidates(step: Step) -> list[Box]:
    """The boxes of the gold element; all elements of a row that does not say which those are."""
    known = step.screen.candidates
    return list(known if known is not None else step.screen.elements or ())


def _hits(answer: Action, tap: Point | None, boxes: list[Box], step: Step, in_shares: bool) -> bool | None:
    where = point(answer)
    if tap is None:
        return None
    if where is None:
        return False
    if any(contains(grown(box, GROWN), *where) for box in boxes):
        return True
    if in_shares:
        return dist(step.share(where), step.share(tap)) <= NEAR
    return dist(where, tap) <= NEAR * max(step.size)


def _control(answer: Action, step: Step, in_shares: bool) -> bool | None:
    gold = step.gold.type
    if gold == "open_app" and answer.type == "click":
        icons = list(step.screen.candidates or ())  # the app's icons on the screen, where they are known
        return bool(icons) and bool(_hits(answer, centre(icons[0]), icons, step, in_shares))
    if answer.type != gold:
        return False
    if gold in ("type", "open_app"):
        return contained(*texts(answer, step.gold))
    if gold in ("click", "long_click"):
        return _hits(answer, step.tap, _candidates(step), step, in_shares)
    return True


def _infigui(answer: Action, step: Step) -> bool | None:
    if step.gold.type != "swipe" or answer.type != "swipe":
        return _control(answer, step, in_shares=False)
    # Gold is a word there. A path's word here is its longer side in pixels; the answer's, in shares. A finger that
    # stays in place moves up.
    wanted, finger = direction(path(step.gold)), path(answer)
    return None if wanted is None else finger is not None and (direction(finger, step.size) or "up") == wanted


_TYPES = frozenset(("click", "long_click", "swipe", "type", "open_app", "back", "wait"))
INFIGUI = Rule(
    _infigui, _TYPES,
    "a click in one of the gold element's boxes (grown by 1.2), or at most 0.04 of the screen's longer side from the "
    "gold tap; the direction of a swipe; one text holds the other; a click on an app's icon opens it",
    "https://github.com/InfiXAI/InfiGUI-R1/blob/main/eval/android_control/evaluate_android_control.py",
    dict.fromkeys(("click", "long_click"), ("size", "elements")) | {"swipe": ("size",)}, taps=True,
)  # fmt: skip
UI_S1 = Rule(
    partial(_control, in_shares=True), _TYPES,
    "as infigui, but any swipe for a swipe, and the distance in shares of width and height",
    "https://github.com/X-PLUG/MobileAgent/blob/main/UI-S1/evaluation/qwenvl_utils.py",
    dict.fromkeys(("click", "long_click"), ("size", "elements")), taps=True,
)  # fmt: skip
