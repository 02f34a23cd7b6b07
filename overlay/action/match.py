"""How well one action matches another. Both must be in the same coordinate space."""

import math

from Levenshtein import ratio

from overlay.action.action import BOX_TYPES, TEXT_TYPES, Action, as_box, direction, plain
from overlay.action.clicks import CLICKS
from overlay.action.completion import load_json

REPAIRED = 0.9

Size = tuple[float, float]


def similarity(predicted: str, gold: str) -> float:
    """Character-wise Levenshtein ratio in [0, 1]; order counts, and it works for Chinese. Two empty texts are equal."""
    limit = 4 * len(gold) + 64  # beyond it the ratio is below 0.4 anyway and only falls
    return ratio(predicted[:limit], gold) * (min(1.0, limit / len(predicted)) if predicted else 1.0)


def match_click(predicted: Action, gold: Action, click: str = "box") -> float:
    """Score of a click or long_click in [0, 1]: 1 for exactly the gold box, else by `CLICKS[click]`."""
    if predicted.coordinates is None or gold.coordinates is None:
        return 0.0
    box, target = as_box(predicted.coordinates), as_box(gold.coordinates)
    return 1.0 if box == target else CLICKS[click](box, target)


def match_swipe(predicted: Action, gold: Action, size: Size = (1, 1)) -> float:
    """Score of a swipe in [0, 1]: 0.6 + 0.4 * closeness with the gold direction, else 0.1 * closeness.

    Closeness is 1 / (1 + mean distance of the two ends in gold lengths). The direction is that on the screen's shares.
    """
    path, target = predicted.coordinates, gold.coordinates
    if path is None or target is None or len(path) != 4 or len(target) != 4:
        return 0.0
    if path == target:
        return 1.0
    apart = (math.dist(path[:2], target[:2]) + math.dist(path[2:], target[2:])) / 2
    closeness = 1 / (1 + apart / max(1.0, math.dist(target[:2], target[2:])))
    wanted = direction(target, size)
    return 0.6 + 0.4 * closeness if wanted is not None and direction(path, size) == wanted else 0.1 * closeness


def asks_text(gold: Action) -> bool:
    """Whether the text of an answer counts: a gold action without one asks for none, unless it is to be typed."""
    return bool(gold.text) or gold.type == "type"


def match_text(predicted: Action, gold: Action) -> float:
    """Score of a text parameter in [0, 1]: 0.1 for the right type, the rest by `similarity`."""
    return 0.1 + 0.9 * similarity(predicted.text, gold.text) if asks_text(gold) else 1.0


def same_text(predicted: str, gold: str) -> bool:
    """Whether two texts do the same work, as metrics count it: width, case and spaces aside, one holds the other.

    An empty text holds nothing and is held by nothing: typing nothing does no work.
    """
    one, other = Action("", predicted).text, Action("", gold).text
    return one == other or (bool(one and other) and (one in other or other in one))


def _inquiry(action: Action) -> dict:
    """The inquiry's fields; text that is not their JSON stands for the question."""
    fields = load_json(action.parameter) if isinstance(action.parameter, str) else action.parameter
    return fields if isinstance(fields, dict) else {"Question": action.parameter}


def _same_index(asked: dict, wanted: dict) -> bool:
    chosen, right = asked.get("AnswerIndex"), wanted.get("AnswerIndex")
    return chosen == right or plain(chosen).strip() == plain(right).strip() != ""


def match_inquiry(predicted: Action, gold: Action) -> float:
    """Score of an inquiry in [0, 1]: 0.1 for the type, 0.6 by the question's similarity, 0.3 for the answer index."""
    asked, wanted = _inquiry(predicted), _inquiry(gold)
    question = similarity(Action("", asked.get("Question")).text, Action("", wanted.get("Question")).text)
    return 0.1 + 0.6 * question + 0.3 * _same_index(asked, wanted)


def same_inquiry(predicted: Action, gold: Action) -> bool:
    """Whether an inquiry asks the same (by `same_text`) and chooses the same answer."""
    asked, wanted = _inquiry(predicted), _inquiry(gold)
    return _same_index(asked, wanted) and same_text(plain(asked.get("Question")), plain(wanted.get("Question")))


def match(predicted: Action | None, gold: Action | None, size: Size = (1, 1), click: str = "box") -> float:
    """How well an action matches the gold one, in [0, 1]: 1 when equal, 0 for another type or no action at all.

    `size`: (width, height) of the screen in the actions' space, by which a swipe has its direction; `click`: how clicks
    are scored (`CLICKS`). A repaired action has `REPAIRED` of the score: the same answer as proper JSON must be worth
    more.
    """
    if predicted is None or gold is None or predicted.type != gold.type:
        return 0.0
    if gold.type in BOX_TYPES:
        score = match_click(predicted, gold, click)
    elif gold.type == "swipe":
        score = match_swipe(predicted, gold, size)
    elif gold.type in TEXT_TYPES:
        score = match_text(predicted, gold)
    elif gold.type == "inquiry":
        score = match_inquiry(predicted, gold)
    else:  # wait, back: nothing to compare but the type
        score = 1.0
    return min(1.0, max(0.0, score)) * (REPAIRED if predicted.repaired else 1.0)
