"""What can be played: pages that are reset to a seed, seen, acted on, and that say themselves how it went."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from playwright.sync_api import Browser

from overlay.action.action import ACTION_NAMES, Action
from overlay.action.reserved import without_reserved
from overlay.errors import SettingError
from overlay.live import chromium


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
        """Do an action, coordinates in screenshot pixels; whether there was something to do. It is told too when the
        model says that the task is done or impossible, after which nothing follows: here some judge."""
        ...

    def reward(self) -> float | None:
        """The page's own verdict, 1 for success, None while the episode runs."""
        ...

    def close(self) -> None:
        """Give up its page, or whatever it holds; it is not asked again."""
        ...


METHODS = ("reset", "screen", "act", "reward", "close")  # of an Environment


@dataclass(frozen=True)
class Pages:
    """A kind of environment: its tasks, those that training never sees, what opens one on a Chromium that runs, and the
    tasks in which saying that it cannot be done is right."""

    tasks: tuple[str, ...]
    held_out: tuple[str, ...]
    on: Callable[[Browser], Environment]
    impossible: tuple[str, ...] = ()

    def begun(self, browser: Browser) -> Environment:
        """One on a browser. SettingError for one that lacks a method."""
        environment = self.on(browser)
        for name in METHODS:
            if not callable(getattr(environment, name, None)):
                kind = f"{type(environment).__module__}.{type(environment).__name__}"
                raise SettingError(f"{kind} has no {name}(): docs/episodes.md shows the methods of pages")
        return environment

    @contextmanager
    def open(self) -> Iterator[Environment]:
        """One in a browser of its own. Raises SettingError."""
        with chromium.open_browser() as browser, closing(self.begun(browser)) as environment:
            yield environment


@dataclass(frozen=True)
class Seen:
    """What became of a command: the screen (PNG), the page's verdict, None while it runs; after a reset its goal and
    the seed that was played."""

    screen: bytes
    reward: float | None
    goal: Goal | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Lost:
    """Why an episode is over without a verdict."""

    reason: str


def input_of(goal: Goal, history: Sequence[str], screens: Sequence[str]) -> dict[str, Any]:
    """A step's input, as rows have it, when these `screens` (paths) were seen and `history` was said so far. Marks of
    the chat template in the page's own words are none there."""
    plan = {str(i): without_reserved(text) for i, text in enumerate(goal.plan, 1)}
    return {
        "task_content": without_reserved(goal.instruction), "task_path": plan,
        "screen_path1": screens[-2] if len(screens) > 1 else "", "screen_path2": screens[-1],
        "history_path_all": list(history), "app_name": without_reserved(goal.app), "action_type_list": ACTION_NAMES,
    }  # fmt: skip
