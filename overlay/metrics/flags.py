"""What one answer got right against its gold action: the one truth of training's evaluation, `make eval` and the demo.

A metric is the mean of a flag over the rows that it is about, and always comes with its N. Both actions are in the same
coordinate space. Clicks count by the rule `box`: our default, for gold is a box. Another rule gives other figures, and
stands in the metric's name.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from typing import Any

from overlay.action.action import BOX_TYPES, TEXT_TYPES, Action, as_box, centre, contains, direction, parse_action
from overlay.errors import DataError
from overlay.rewards.format import HIGHEST, score_format

RULE = "box"
RULES = {
    RULE: "centre of the answer in the gold box (our default)",
    "box x1.2": "centre of the answer in the gold box grown by 1.2",
    "0.14": "distance of centres at most 0.14 of the screen (AITW)",
    "0.04": "distance of centres at most 0.04 of the screen (AgentCPM on AndroidControl)",
}
# Metrics whose value depends on how a click is judged, by `RULE`.
RULED = ("grounding_accuracy", "grounding_accuracy_type_matched", "step_success_rate", "task_success_rate")


@dataclass(frozen=True)
class Metric:
    """A share of `n` rows, or a mean over them."""

    value: float
    n: int


@lru_cache(maxsize=65536)
def gold_action(solution: str) -> Action:
    """The gold action of a row, parsed once. Raises DataError when it is none."""
    action = parse_action(solution)
    if action is None:
        raise DataError(f"gold is no action: {solution[:80]}")
    return action


def hits(predicted: Action | None, gold: Action, rule: str = RULE, size: tuple[float, float] | None = None) -> bool:
    """Whether a click answers a gold box under `rule`; `size` (width, height) of the screen in the coordinates' space
    is for rules that measure a distance."""
    if predicted is None or predicted.coordinates is None or gold.coordinates is None:
        return False
    box, (x, y) = as_box(gold.coordinates), centre(as_box(predicted.coordinates))
    if rule == "box":
        return contains(box, x, y)
    across, down = centre(box)
    if rule == "box x1.2":
        return abs(x - across) <= 0.6 * (box[2] - box[0]) and abs(y - down) <= 0.6 * (box[3] - box[1])
    assert size is not None, rule
    return hypot((x - across) / size[0], (y - down) / size[1]) <= float(rule)


def succeeds(predicted: Action | None, gold: Action) -> bool:
    """Step success: right type, and a click in the box, a swipe in the direction, a text equal to the gold text.

    task_completed, task_impossible, wait and back need the type only; an inquiry the same answer as gold.
    """
    if predicted is None or predicted.type != gold.type:
        return False
    if gold.type in BOX_TYPES:
        return hits(predicted, gold)
    if gold.type == "swipe":
        taken = direction(predicted.coordinates)
        return taken is not None and taken == direction(gold.coordinates)
    if gold.type in ("open_app", "type"):
        return predicted.text == gold.text
    if gold.type == "inquiry":
        return predicted == gold
    return True


def row_flags(completion: str, solution: str, size: tuple[float, float] | None = None) -> dict[str, Any]:
    """What one answer (a completion's text) got right against gold (an action's JSON); a flag is None where its metric
    is not about this row, and a distance rule's without the `size` of the screen. Raises DataError for gold that is no
    action."""
    answer, gold = parse_action(completion), gold_action(solution)
    typed, success = answer is not None and answer.type == gold.type, succeeds(answer, gold)
    box = gold.type in BOX_TYPES
    known = [rule for rule in RULES if size or rule.startswith("box")]
    under = dict.fromkeys(RULES) | {rule: typed and hits(answer, gold, rule, size) for rule in known if box}
    others = {rule: flag for rule, flag in under.items() if rule != RULE}
    return {
        "gold_type": gold.type,
        "answer_type": answer.type if answer else "none",
        "format_rate": score_format(completion) == HIGHEST,
        "action_type_accuracy": typed,
        "grounding_accuracy": under[RULE],  # over all click steps
        **{f"grounding_accuracy ({rule})": flag for rule, flag in others.items()},
        "grounding_accuracy_type_matched": under[RULE] if typed else None,
        "text_accuracy": answer is not None and typed and answer.text == gold.text if gold.type in TEXT_TYPES else None,
        "swipe_direction_accuracy": success if gold.type == "swipe" else None,
        "step_success_rate": success,
        **{f"step_success_rate ({rule})": flag if box else success for rule, flag in others.items()},
    }


METRICS = tuple(row_flags("", '{"action_type": "wait", "action_parameter": {"wait": ""}}'))[2:]


def ruled(metric: str) -> str:
    """A metric's name for people, with the rule that its clicks are judged by."""
    return f"{metric} ({RULE})" if metric in RULED else metric


def measure(completions: list[str], solutions: list[str]) -> dict[str, Metric]:
    """Metrics under `RULE` of completions (text) against gold actions (JSON text), by name; 0 where N is 0."""
    rows = [row_flags(text, gold) for text, gold in zip(completions, solutions, strict=True)]
    flags = {name: [row[name] for row in rows if row[name] is not None] for name in METRICS if "(" not in name}
    return {name: Metric(sum(known) / len(known) if known else 0.0, len(known)) for name, known in flags.items()}
