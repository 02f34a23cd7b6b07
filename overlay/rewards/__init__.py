"""Reward functions: `(completions, **columns) -> list[float]`, one float per completion, none ever raises.

`REWARDS` is the one registry; both trainers and the tests read it. Completions are conversational
(`[[{"role": "assistant", "content": str}], ...]`); `solution` and `accu_reward_method` are columns of the dataset.
"""

from collections.abc import Callable, Sequence

from overlay.rewards.accuracy import accuracy_reward
from overlay.rewards.action import gui_action_reward
from overlay.rewards.format import format_reward, scaled_format_reward

REWARDS: dict[str, Callable[..., Sequence[float | None]]] = {
    "accuracy": accuracy_reward,
    "format": format_reward,
    "format_scaled": scaled_format_reward,
    "gui_action": gui_action_reward,
}
