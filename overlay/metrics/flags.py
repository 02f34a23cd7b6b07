"""What one answer got right against its gold action: the one truth of training's evaluation, `make eval` and the demo.

A metric is the mean of a flag over the rows that it is about, and always comes with its N. Answer and gold are in the
same coordinate space. Steps count by the rule `box`, our default; a figure by another rule of `overlay.metrics.rules`
has its name in the metric's.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from overlay.action.action import BOX_TYPES, Action, parse_action
from overlay.action.completion import ANSWER_TAG
from overlay.errors import DataError
from overlay.metrics.rules import RULE, RULES
from overlay.metrics.rules.own import texts_alike
from overlay.metrics.rules.step import Screen, Step
from overlay.rewards.format import HIGHEST, score_format

FINAL_TYPES = ("task_completed", "task_impossible")
# Metrics whose value depends on the rule.
RULED = (
    "grounding_accuracy", "grounding_accuracy_type_matched", "step_success_rate", "task_success_rate", "task_progress",
)  # fmt: skip
UNKNOWN = Screen()


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


def succeeds(predicted: Action | None, gold: Action, screen: Screen = UNKNOWN, rule: str = RULE) -> bool | None:
    """Step success under a rule, both actions in the model's space; None where the rule cannot judge the step."""
    return RULES[rule](screen.pixels(predicted), step_of(gold, screen))


def step_of(gold: Action, screen: Screen = UNKNOWN) -> Step:
    """A gold action of the model's space, in pixels on its screen."""
    in_pixels = screen.gold or screen.pixels(gold)
    assert in_pixels is not None
    return Step(in_pixels, screen)


def ruled(metric: str, rule: str = RULE) -> str:
    """A metric's name with the rule that its steps are judged by, where it depends on one; for people."""
    return f"{metric} ({rule})" if metric in RULED else metric


def under(rule: str, metric: str = "step_success_rate") -> str:
    """A metric's column under a rule; our default goes without saying."""
    return metric if rule == RULE else f"{metric} ({rule})"


def row_flags(
    completion: str,
    solution: str,
    screen: Screen = UNKNOWN,
    thinking: bool = True,
    answer_format: str = ANSWER_TAG,
) -> dict[str, Any]:
    """What one answer (a completion's text) got right against gold (an action's JSON); a flag is None where its metric
    is not about this row, and a rule's where the row lacks what the rule needs. What a flag is about follows from gold;
    further right actions (`screen.also`) do as well. `thinking`: whether the row's prompt asked for it;
    `answer_format`: that it asked for. Raises DataError for gold that is no action."""
    answer, gold = parse_action(completion, answer_format), gold_action(solution)
    answered, step = screen.pixels(answer), step_of(gold, screen)
    verdicts = {under(name): rule(answered, step) for name, rule in RULES.items()}
    success = verdicts["step_success_rate"]
    own = answer is not None and answer.type == gold.type
    same = [each for each in (step.gold, *step.screen.also) if answer is not None and each.type == answer.type]
    alike = any(answer is not None and texts_alike(answer, each) for each in same) if own else bool(same and success)
    return {
        "gold_type": gold.type,
        "answer_type": answer.type if answer else "none",
        "format_rate": score_format(completion, thinking, answer_format) == HIGHEST,
        "action_type_accuracy": bool(same),
        "grounding_accuracy": success if gold.type in BOX_TYPES else None,  # over all click steps
        "grounding_accuracy_type_matched": success if own and gold.type in BOX_TYPES else None,
        "text_accuracy": alike if gold.type == "type" else None,
        "description_accuracy": alike if gold.type in FINAL_TYPES and gold.text else None,
        "swipe_direction_accuracy": success if gold.type == "swipe" else None,
        **verdicts,
    }


METRICS = tuple(row_flags("", '{"action_type": "wait", "action_parameter": {"wait": ""}}'))[2:]
OWN = tuple(name for name in METRICS if "(" not in name)  # those under our default


def measure(
    completions: list[str],
    solutions: list[str],
    screens: list[Screen] | None = None,
    thinking: bool = True,
    answer_format: str = ANSWER_TAG,
) -> dict[str, Metric]:
    """Metrics under `RULE` of completions (text) against gold actions (JSON text), by name; 0 where N is 0. Without
    `screens` a swipe's direction is that in the coordinates' own space."""
    known = screens or [UNKNOWN] * len(solutions)
    rows = [row_flags(*row, thinking, answer_format) for row in zip(completions, solutions, known, strict=True)]
    flags = {name: [row[name] for row in rows if row[name] is not None] for name in OWN}
    return {name: Metric(sum(right) / len(right) if right else 0.0, len(right)) for name, right in flags.items()}
