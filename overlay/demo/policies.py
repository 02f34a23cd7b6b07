"""Policies that look at nothing, for comparison: the uniform random action and the training set's majority action."""

import json
import random
from collections import Counter
from statistics import median

from overlay.action.action import ACTION_NAMES, BOX_TYPES, parse_action
from overlay.action.completion import THINK_FIELDS


def _completion(kind: str, parameter: str) -> str:
    think = json.dumps(dict.fromkeys(THINK_FIELDS, ""))
    answer = {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""}
    return f"<think>{think}</think><answer>{json.dumps(answer)}</answer>"


def random_policy(count: int, size: tuple[int, int], seed: int) -> list[str]:
    """`count` completions: a uniform action type and, where it takes one, a uniform box in a width x height screen."""
    draw = random.Random(seed)
    answers = []
    for _ in range(count):
        kind = draw.choice(list(ACTION_NAMES))
        x = sorted(draw.randrange(size[0] + 1) for _ in range(2))
        y = sorted(draw.randrange(size[1] + 1) for _ in range(2))
        takes_box = kind in (*BOX_TYPES, "swipe")
        answers.append(_completion(kind, f"{x[0]},{y[0]},{x[1]},{y[1]}" if takes_box else ""))
    return answers


def majority_policy(count: int, training_solutions: list[str]) -> list[str]:
    """`count` times the commonest action type of the training set with its median box or commonest parameter."""
    actions = [parse_action(text) for text in training_solutions]
    kind = Counter(action.type for action in actions).most_common(1)[0][0]
    chosen = [action for action in actions if action.type == kind]
    if kind in BOX_TYPES:
        parameter = ",".join(str(round(median(side))) for side in zip(*(a.coordinates for a in chosen), strict=True))
    else:
        parameter = Counter(action.parameter for action in chosen).most_common(1)[0][0]
    return [_completion(kind, parameter)] * count
