"""One episode of a model in a MiniWoB++ page: it sees, says, acts, until the page or the model ends it."""

import asyncio
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from overlay.action.action import ACTION_NAMES, BOX_TYPES, Action, as_box, centre, described, parse_action
from overlay.action.space import Scale, rescale
from overlay.chat import NoAnswer
from overlay.data.images import encode, scale_of
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import HELD_OUT_TYPES
from overlay.live.miniwob.solve import solve
from overlay.pages.picture import drawn
from overlay.prompt.style import PromptStyle
from overlay.serve.ask import question_of_task
from overlay.serve.client import Answer, Client


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


def act(page: Page, action: Action, scale: Scale) -> bool:
    """Do the model's action; whether there was something to do. Coordinates have `scale` in screenshot pixels."""
    css = None
    if action.coordinates is not None:
        css = tuple(value / browser.SCALE for value in rescale(action.coordinates, scale, back=True))
    if action.type in BOX_TYPES and css:
        x, y = centre(as_box(css))
        browser.tap(page, min(max(x, 0), browser.WIDTH - 1), min(max(y, 0), browser.HEIGHT - 1))
    elif action.type == "swipe" and css and len(css) == 4:
        browser.swipe(page, css[0], css[1], css[3])
    elif action.type == "type":
        page.keyboard.type(str(action.parameter or ""))
        page.wait_for_timeout(60)
    elif action.type == "wait":
        page.wait_for_timeout(1000)
    else:
        return False
    return True


def episode(
    page: Page, asker: Asker, task: str, seed: str, style: PromptStyle, extra: int, folder: Path
) -> dict[str, Any] | None:
    """One episode; None when the oracle does not solve the seed. Screens go into `folder`.

    A step without an answer ends it: `unanswered` has the reason, and it says nothing of the model.
    """
    solved = solve(page, task, seed)
    if solved is None:
        return None
    plan = [line for _, _, line in solved[2]]
    instruction, history, steps, screens = browser.start(page, task, seed), [], [], []
    ended, unanswered = "out of steps", None
    for number in range(len(plan) + extra):
        path = folder / f"{number}.png"
        path.write_bytes(browser.screenshot(page))
        screens.append(str(path))
        fields = {
            "task_content": instruction, "task_path": {str(i): text for i, text in enumerate(plan, 1)},
            "screen_path1": screens[-2] if number else "", "screen_path2": screens[-1],
            "history_path_all": list(history), "app_name": task, "action_type_list": ACTION_NAMES,
        }  # fmt: skip
        question, paths = question_of_task(fields, style)
        try:
            answer = asker.ask(style.messages(question, len(paths)), paths)
        except NoAnswer as error:
            ended, unanswered = f"no answer: {error}", error.reason
            break
        completion = answer.completion
        scale = scale_of(style, paths, task)
        action = parse_action(completion)
        shown = encode(drawn(str(path), action, scale).quantize(64), "png", optimize=True).url
        kind = action.type if action else "none"
        steps.append({"completion": completion, "action": kind, "cut": answer.cut, "screen": shown})
        history.append(described(completion, action))
        if action is not None and action.type in ("task_completed", "task_impossible"):
            ended = "said it was done"
            break
        if action is None or not act(page, action, scale):
            continue
        if browser.reward(page) is not None:
            ended = "the page ended it"
            break
    reward = browser.reward(page)
    return {
        "task": task, "seed": seed, "instruction": instruction, "plan": plan, "steps": steps, "ended": ended,
        "unanswered": unanswered, "reward": reward, "success": reward == 1, "held_out": task in HELD_OUT_TYPES,
    }  # fmt: skip
