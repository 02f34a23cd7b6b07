"""GUI-Odyssey, GUI-R1 and UI-R1: rules that judge by the gold box alone."""

from math import dist

from overlay.action.action import Action, contains, direction
from overlay.metrics.rules.own import ALL
from overlay.metrics.rules.step import Rule, Step, path, point
from overlay.metrics.rules.texts import odyssey, shared_words, texts

NEAR = 0.14
NEAR_PIXELS = 140  # GUI-R1's reward, where gold is a point


def _odyssey(answer: Action, step: Step) -> bool | None:
    gold = step.gold
    if answer.type != gold.type:
        return False
    if gold.type == "type":
        return odyssey(*texts(answer, gold))
    if gold.type == "swipe":
        wanted, taken = (direction(path(each), step.size) for each in (gold, answer))
        return None if wanted is None else taken == wanted
    if gold.type not in ("click", "long_click"):
        return True
    where, tap = point(answer), step.tap
    if tap is None:
        return None
    if where is None:
        return False
    inside = step.box is not None and contains(step.box, *where)
    return inside or dist(step.share(where), step.share(tap)) <= NEAR


def _word(action: Action, step: Step) -> str:
    """What GUI-R1 calls the input text: of a swipe its direction."""
    if action.type == "swipe":
        return direction(path(action), step.size) or ""
    return texts(action, action)[0]


def _gui_r1_eval(answer: Action, step: Step) -> bool | None:
    gold, where = step.gold, point(answer)
    if answer.type != gold.type:
        return False
    if gold.type in ("click", "long_click"):
        first = gold.coordinates
        if first is None:
            return None
        # Its golds are points; of a box it takes the first corner for one.
        return where is not None and dist(step.share(where), step.share((first[0], first[1]))) < NEAR
    return shared_words(_word(answer, step), _word(gold, step))


def _gui_r1_reward(answer: Action, step: Step) -> bool | None:
    gold, where = step.gold, point(answer)
    if answer.type != gold.type:
        return False
    if gold.type == "click":
        if gold.coordinates is None or where is None:
            return None if gold.coordinates is None else False
        if step.box is None:
            return dist(where, gold.coordinates) < NEAR_PIXELS
        x1, y1, x2, y2 = step.box
        return x1 < where[0] < x2 and y1 < where[1] < y2
    return gold.type not in ("type", "swipe") or shared_words(_word(answer, step), _word(gold, step))


def _ui_r1(answer: Action, step: Step) -> bool | None:
    if answer.type != step.gold.type:
        return False
    if step.gold.type != "click":
        return True
    where = point(answer)
    if step.box is None:
        return None
    return where is not None and contains(step.box, int(where[0]), int(where[1]))


ODYSSEY = Rule(
    _odyssey, frozenset(("click", "long_click", "swipe", "type", "back", "task_completed", "task_impossible")),
    "a tap in the gold box or at most 0.14 of the screen from the gold tap; the direction of a swipe; one text holds "
    "the other or is at least half alike; else the type",
    "https://github.com/OpenGVLab/GUI-Odyssey/blob/master/src/eval_mm/GUIOdyssey_action_matching.py",
    dict.fromkeys(("click", "long_click", "swipe"), ("size",)), taps=True,
)  # fmt: skip
GUI_R1_EVAL = Rule(
    _gui_r1_eval, frozenset(("click", "long_click", "swipe", "type", "open_app")),
    "a click less than 0.14 of the screen from the gold box's first corner, F1 of the words at least 0.5 (a swipe's "
    "word is its direction); steps without place or text are not counted",
    "https://github.com/ritzz-ai/GUI-R1/blob/main/guir1/eval/eval_omni.py",
    dict.fromkeys(("click", "long_click", "swipe"), ("size",)),
)  # fmt: skip
GUI_R1_REWARD = Rule(
    _gui_r1_reward,
    ALL - {"inquiry"},
    "a click inside the gold box, off its edges (of a gold point: less than 140 pixels away); F1 of the words of typed "
    "text and of a swipe's direction at least 0.5; else the type",
    "https://github.com/ritzz-ai/GUI-R1/blob/main/verl/utils/reward_score/r1gui.py",
    {"swipe": ("size",)},
)  # fmt: skip
UI_R1 = Rule(
    _ui_r1, frozenset(("click", "swipe", "type", "open_app", "back")),
    "a click in the gold box (whole pixels); else the type",
    "https://github.com/lll6gg/UI-R1/blob/main/src/ui_r1/src/open_r1/grpo_json_action_coord.py",
)  # fmt: skip
