"""accuracy: the reward whose method is chosen by file (`--reward_method`) or by row (`accu_reward_method`)."""

from collections.abc import Callable

from overlay.completion import content_of
from overlay.rewards.action import score_action

METHODS: dict[str, Callable[[str, str], float]] = {"gui_action": score_action}


def accuracy_reward(
    completions: list, solution: list[str], accu_reward_method: list[str], **columns: list
) -> list[float]:
    """Score each completion by its own row's method, in [0, 1]; the dataset refuses unknown methods beforehand.

    >>> wait = '{"action_type": "wait", "action_parameter": {"wait": ""}}'
    >>> accuracy_reward([[{"role": "assistant", "content": f"<answer>{wait}</answer>"}]], [wait], ["gui_action"])
    [1.0]
    """
    rows = zip(completions, solution, accu_reward_method, strict=True)
    return [METHODS[method](content_of(completion), gold) for completion, gold, method in rows]
