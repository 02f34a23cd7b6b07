"""What can be played: pages that are reset to a seed, seen, acted on, and that say themselves how it went."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from overlay.action.action import Action


@dataclass(frozen=True)
class Goal:
    """What is to be done. `plan`: a line for each of the steps that it takes; `app`: the app in front, as in rows."""

    instruction: str
    plan: list[str]
    app: str


class Environment(Protocol):
    """One page under way. Not for several threads."""

    def reset(self, task: str, seed: int) -> Goal | None:
        """Begin an episode; None when this seed cannot be solved."""
        ...

    def screen(self) -> bytes:
        """The screen as PNG."""
        ...

    def act(self, action: Action) -> bool:
        """Do an action, coordinates in screenshot pixels; whether there was something to do."""
        ...

    def reward(self) -> float | None:
        """The page's own verdict, 1 for success, None while the episode runs."""
        ...


@dataclass(frozen=True)
class Pages:
    """A kind of environment: its tasks, those that training never sees, and what opens one."""

    tasks: tuple[str, ...]
    held_out: tuple[str, ...]
    open: Callable[[], AbstractContextManager[Environment]]
