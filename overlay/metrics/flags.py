"""Metrics of predicted actions against gold ones. Every figure comes with its N; coordinates share one space.

The click rule is `box`: the predicted box's centre (or point) lies in the gold box. It is our default because gold is a
box; other rules give other figures, so a score is always printed with its rule.
"""

from dataclasses import dataclass

from overlay.action.action import BOX_TYPES, TEXT_TYPES, Action, as_box, centre, contains, direction, parse_action
from overlay.rewards.format import HIGHEST, score_format

RULE = "box"


@dataclass(frozen=True)
class Metric:
    """A share of `n` rows, or a mean over them."""

    value: float
    n: int


def hits_box(predicted: Action, gold: Action) -> bool:
    """Rule `box`: the centre of the predicted box or point lies in the gold box."""
    if predicted.coordinates is None or gold.coordinates is None:
        return False
    return contains(as_box(gold.coordinates), *centre(as_box(predicted.coordinates)))


def succeeds(predicted: Action | None, gold: Action) -> bool:
    """Step success: right type, and a click in the box, a swipe in the direction, a text equal to the gold text.

    task_completed, task_impossible, wait and back need the type only; an inquiry the same answer as gold.
    """
    if predicted is None or predicted.type != gold.type:
        return False
    if gold.type in BOX_TYPES:
        return hits_box(predicted, gold)
    if gold.type == "swipe":
        path = predicted.coordinates
        return path is not None and direction(path) is not None and direction(path) == direction(gold.coordinates)
    if gold.type in ("open_app", "type"):
        return predicted.text == gold.text
    if gold.type == "inquiry":
        return predicted == gold
    return True


def _share(flags: list[bool]) -> Metric:
    return Metric(sum(flags) / len(flags) if flags else 0.0, len(flags))


def measure(completions: list[str], solutions: list[str]) -> dict[str, Metric]:
    """Metrics of completions (text) against gold actions (JSON text), by name.

    format_rate: the graded format in full; action_type_accuracy; box_hit_rate: over all steps whose gold is a box;
    box_hit_rate_type_matched: over those with the right type; text_accuracy, swipe_direction_accuracy: over their gold
    types; step_success_rate: over all.
    """
    golds = [parse_action(text) for text in solutions]
    answers = [parse_action(text) for text in completions]
    pairs = list(zip(answers, golds, strict=True))
    success = [succeeds(answer, gold) for answer, gold in pairs]
    typed = [answer is not None and answer.type == gold.type for answer, gold in pairs]

    def over(chosen: list[bool], flags: list[bool]) -> Metric:
        return _share([flag for flag, use in zip(flags, chosen, strict=True) if use])

    box = [gold.type in BOX_TYPES for gold in golds]
    return {
        "format_rate": _share([score_format(text) == HIGHEST for text in completions]),
        "action_type_accuracy": _share(typed),
        "box_hit_rate": over(box, success),
        "box_hit_rate_type_matched": over([b and t for b, t in zip(box, typed, strict=True)], success),
        "text_accuracy": over([gold.type in TEXT_TYPES for gold in golds], [
            t and a.text == g.text for t, (a, g) in zip(typed, pairs, strict=True)
        ]),
        "swipe_direction_accuracy": over([gold.type == "swipe" for gold in golds], success),
        "step_success_rate": _share(success),
    }  # fmt: skip
