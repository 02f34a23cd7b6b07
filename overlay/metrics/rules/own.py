"""Our own rules: a click by the gold box, a swipe by its direction on the screen's shares, a text by one text rule."""

from collections.abc import Callable
from functools import partial

from overlay.action.action import ACTION_NAMES, BOX_TYPES, Action, as_box, contains, direction
from overlay.action.match import asks_text, same_inquiry, same_text
from overlay.metrics.rules.step import Rule, Step, grown, path, point

SQUARE = (1.0, 1.0)  # a screen of unknown size


def _own(answer: Action, step: Step, factor: float, same: Callable[[Action, Action], bool]) -> bool:
    gold = step.gold
    if answer.type != gold.type:
        return False
    if gold.type in BOX_TYPES:
        where, coordinates = point(answer), gold.coordinates
        return where is not None and coordinates is not None and contains(grown(as_box(coordinates), factor), *where)
    if gold.type == "swipe":
        size = step.screen.size or SQUARE
        taken = direction(path(answer), size)
        return taken is not None and taken == direction(path(gold), size)
    if gold.type in ("open_app", "type"):
        return not asks_text(gold) or same(answer, gold)
    return gold.type != "inquiry" or same_inquiry(answer, gold)


def texts_alike(answer: Action, gold: Action) -> bool:
    """Our text rule on two actions' texts."""
    return same_text(answer.text, gold.text)


def _equal(answer: Action, gold: Action) -> bool:
    return answer.text == gold.text


ALL = frozenset(ACTION_NAMES)
BOX = Rule(
    partial(_own, factor=1.0, same=texts_alike), ALL,
    "a click's centre in the gold box; a swipe's direction on the screen's shares; typed text and an app's name when "
    "one holds the other, case, width and spaces aside; an inquiry that asks and chooses the same; else the type. Our "
    "default",
)  # fmt: skip
BOX_GROWN = Rule(partial(_own, factor=1.2, same=texts_alike), ALL, "as box, the gold box grown by 1.2")
EXACT = Rule(partial(_own, factor=1.0, same=_equal), ALL, "as box, typed text equal to the gold text, letter by letter")
