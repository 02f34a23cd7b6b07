"""One episode of a model in an environment: it sees, says, acts, until the page or the model ends it."""

import asyncio
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Protocol

from overlay.action.action import described, parse_action
from overlay.chat import NoAnswer
from overlay.data.images import encode, scale_of
from overlay.live.environment import Environment, input_of
from overlay.metrics.flags import FINAL_TYPES
from overlay.metrics.rules.step import Screen
from overlay.pages.picture import drawn
from overlay.prompt.crop import landed
from overlay.prompt.style import PromptStyle
from overlay.serve.ask import question_of_task
from overlay.serve.client import Answer, Client


class Asks(Protocol):
    """What answers in an episode."""

    def ask(self, messages: list[dict], paths: list[str]) -> Answer:
        """An answer to chat messages about the images at `paths`. Raises NoAnswer."""
        ...


class Asker:
    """The async client behind a plain call, on a loop in a thread of its own: Playwright's runs in the caller's."""

    def __init__(self, client: Client):
        self.client, self.loop = client, asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.stopped = False
        self._wait(client.__aenter__())

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def ask(self, messages: list[dict], paths: list[str]) -> Answer:
        """An answer. Raises NoAnswer, DataError, and CancelledError after `stop`."""
        if self.stopped:
            raise CancelledError
        return self._wait(self.client.ask(messages, paths))

    def stop(self) -> None:
        """Cancel what is being asked; no more is asked."""
        self.stopped = True

        async def cancel() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self._wait(cancel())

    def close(self) -> None:
        """End the client and its loop."""
        self._wait(self.client.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)


def episode(
    environment: Environment, asker: Asks, task: str, seed: int, style: PromptStyle, extra: int, folder: Path
) -> dict[str, Any] | None:
    """One episode; None when the seed cannot be solved. Screens go into `folder`.

    A step without an answer ends it: `unanswered` has the reason, and it says nothing of the model.
    """
    goal = environment.reset(task, seed)
    if goal is None:
        return None
    history, steps, screens, points = [], [], [], []
    ended, unanswered = "out of steps", None
    for number in range(len(goal.plan) + extra):
        path = folder / f"{number}.png"
        path.write_bytes(environment.screen())
        screens.append(str(path))
        question, shown = question_of_task(input_of(goal, history, screens), style)
        paths = [*style.earlier(screens, points), *shown]
        try:
            answer = asker.ask(style.messages(question, len(paths)), paths)
        except NoAnswer as error:
            ended, unanswered = f"no answer: {error}", error.reason
            break
        completion = answer.completion
        scale = scale_of(style, paths, task)
        action = parse_action(completion, style.answer_format)
        shown = encode(drawn(str(path), action, scale).quantize(64), "png", optimize=True).url
        kind = action.type if action else "none"
        steps.append({"completion": completion, "action": kind, "cut": answer.cut, "screen": shown})
        history.append(described(completion, action, style.answer_format))
        if action is not None and action.type in FINAL_TYPES:
            environment.act(action)
            ended = "said it was done"
            break
        placed = Screen(scale=scale).pixels(action)
        points.append(landed(placed))
        if placed is None or not environment.act(placed):
            continue
        if environment.reward() is not None:
            ended = "the page ended it"
            break
    reward = environment.reward()
    return {
        "task": task, "seed": seed, "instruction": goal.instruction, "plan": goal.plan, "steps": steps, "ended": ended,
        "unanswered": unanswered, "reward": reward, "success": reward == 1,
    }  # fmt: skip
