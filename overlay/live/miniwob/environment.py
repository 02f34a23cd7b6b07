"""MiniWoB++ pages as an environment; a seed counts when the oracle solves it, and its plan is the oracle's."""

from playwright.sync_api import Browser, Page

from overlay.action.action import BOX_TYPES, Action, as_box, centre
from overlay.live.chromium import new_page
from overlay.live.environment import Goal, Pages
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import HELD_OUT_TYPES, ORACLES
from overlay.live.miniwob.solve import solve


class MiniWob:
    """See `overlay.live.environment.Environment`."""

    def __init__(self, page: Page):
        self.page = page

    def reset(self, task: str, seed: int) -> Goal | None:
        solved = solve(self.page, task, f"{task}-{seed}")
        if solved is None:
            return None
        return Goal(browser.start(self.page, task, f"{task}-{seed}"), [line for _, _, line in solved[2]], task)

    def screen(self) -> bytes:
        return browser.screenshot(self.page)

    def act(self, action: Action) -> bool:
        css = tuple(value / browser.SCALE for value in action.coordinates or ())
        if action.type in BOX_TYPES and css:
            x, y = centre(as_box(css))
            browser.tap(self.page, min(max(x, 0), browser.WIDTH - 1), min(max(y, 0), browser.HEIGHT - 1))
        elif action.type == "swipe" and len(css) == 4:
            browser.swipe(self.page, css[0], css[1], css[3])
        elif action.type == "type":
            self.page.keyboard.type(str(action.parameter or ""))
            self.page.wait_for_timeout(60)
        elif action.type == "wait":
            self.page.wait_for_timeout(1000)
        else:
            return False
        return True

    def close(self) -> None:
        self.page.context.close()

    def reward(self) -> float | None:
        return browser.reward(self.page)


def on(chromium: Browser) -> MiniWob:
    """An environment on a page of its own."""
    return MiniWob(new_page(chromium, browser.WIDTH, browser.HEIGHT, browser.SCALE))


PAGES = Pages(tuple(ORACLES), HELD_OUT_TYPES, on)
