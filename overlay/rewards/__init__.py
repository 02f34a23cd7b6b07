"""Reward functions: `(completions, **columns) -> list[float]`, one float per completion, none ever raises.

`REWARDS` is the one registry; both trainers and the tests read it. Completions are conversational
(`[[{"role": "assistant", "content": str}], ...]`); `solution` and `accu_reward_method` are columns of the dataset.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from overlay.rewards.accuracy import accuracy_reward
from overlay.rewards.action import gui_action_reward
from overlay.rewards.format import format_reward, scaled_format_reward
from overlay.rewards.page import page_reward

REWARDS: dict[str, Callable[..., Sequence[float | None]]] = {
    "accuracy": accuracy_reward,
    "format": format_reward,
    "format_scaled": scaled_format_reward,
    "gui_action": gui_action_reward,
    "page": page_reward,
}


def bound(rewards: list[Any], judge: Any, click: str, thinking: bool = True) -> list[Any]:
    """The rewards of a run, in which accuracy asks the judge (or None), it and gui_action score clicks by `click`
    (`overlay.action.clicks.CLICKS`), and formats are with `thinking` or without; others as they are."""
    settings = {
        accuracy_reward: {"judge": judge, "click": click}, gui_action_reward: {"click": click},
        format_reward: {"with_thinking": thinking}, scaled_format_reward: {"with_thinking": thinking},
    }  # fmt: skip
    return [_with(each, settings[each]) if callable(each) and each in settings else each for each in rewards]


def _with(reward: Callable, settings: dict[str, Any]) -> Callable:
    @wraps(reward)
    def call(completions: list, **columns: list) -> list:
        return reward(completions, **settings, **columns)

    # See overlay.training.recorder.NEEDED.
    call.needed = settings.get("judge") is not None  # pyright: ignore[reportAttributeAccessIssue] functions take them
    return call
