"""Play a MiniWoB++ episode with its oracle; an episode counts only when the page itself rewards it with 1."""

import time

from playwright.sync_api import Error, Page

from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import ORACLES
from overlay.live.miniwob.oracles.parts import Act, Ambiguous

MAX_STEPS = 9
DONE = "The task is done"


def drag_path(box: tuple, direction: str) -> tuple[float, float, float, float]:
    """Finger path (x1, y1, x2, y2) in CSS pixels that drags the element's content up or down by 70 pixels."""
    x, low, high = (box[0] + box[2]) / 2, box[3] - 6, box[1] + 6
    return (x, low, x, low - 70) if direction == "up" else (x, high, x, high + 70)


def perform(page: Page, act: Act, clock: dict) -> tuple[str, str]:
    """Do `act` in the page. Returns the action's parameter (screenshot pixels) and its description."""
    if act.type == "click":
        box = browser.box_of(page, act.element)
        if act.plan == "Click button TWO" and "waits" in clock:
            browser.settle(page, clock["tapped"], clock["waits"])
        browser.tap(page, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        clock.setdefault("tapped", time.monotonic())
        return ",".join(str(round(v * browser.SCALE)) for v in box), act.plan
    if act.type == "swipe":
        path = drag_path(browser.box_of(page, act.element), act.direction)
        browser.swipe(page, path[0], path[1], path[3])
        return ",".join(str(round(v * browser.SCALE)) for v in path), act.plan
    if act.type == "type":
        page.keyboard.type(act.text)
        page.wait_for_timeout(60)
        return act.text, act.plan
    clock["waits"] = clock.get("waits", 0) + 1  # wait: the time itself passes just before the next tap
    return "", act.plan


def solve(page: Page, task: str, seed: str) -> tuple[str, list[bytes], list[tuple[str, str, str]]] | None:
    """One episode: (instruction, screens before each action and after the last, (type, parameter, plan) of each).

    None when the seed is ambiguous, a target is covered, or the page's reward is not 1.
    """
    instruction = browser.start(page, task, seed)
    screens, actions, clock = [browser.screenshot(page)], [], {}
    try:
        for act in ORACLES[task](page):
            if len(actions) == MAX_STEPS - 1:
                return None
            parameter, plan = perform(page, act, clock)
            actions.append((act.type, parameter, plan))
            screens.append(browser.screenshot(page))
    except (Ambiguous, browser.Covered):
        return None
    except Error as error:
        raise RuntimeError(f"{task} seed {seed}: {error}") from error
    if browser.reward(page) != 1:
        return None
    return instruction, screens, [*actions, ("task_completed", DONE, "Finish")]
