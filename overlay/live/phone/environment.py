"""Our own pages as an environment. A tap on what the task does not ask for ends the episode, as on MiniWoB++."""

import random

from playwright.sync_api import Browser, Page

from overlay.action.action import BOX_TYPES, Action, as_box, centre, plain
from overlay.data.images import decoded, encode
from overlay.live import chromium
from overlay.live.environment import Goal, Pages
from overlay.live.phone import photo
from overlay.live.phone.kinds import HELD_OUT_KINDS, KINDS
from overlay.live.phone.screen import HEIGHT, WIDTH
from overlay.live.phone.tasks import APP, Step, draw_task
from overlay.live.phone.words import LANGUAGES

SCALE = 2  # screenshot pixels to a CSS pixel
COLOURS = 32  # of a screenshot's PNG
MET = """([x, y]) => {
  const met = document.elementFromPoint(x, y)?.closest('[data-n]');
  return met ? Number(met.dataset.n) : null;
}"""


class Phone:
    """See `overlay.live.environment.Environment`. A task is a kind of page; seeds alternate between the languages."""

    def __init__(self, page: Page):
        self.page, self.steps, self.failed = page, list[Step](), False

    def reset(self, task: str, seed: int) -> Goal:
        drawn = draw_task(random.Random(f"{task} {seed}"), LANGUAGES[seed % len(LANGUAGES)], [task], unseen=False)
        self.steps, self.failed = [step for step in drawn.steps if step.gesture != "task_completed"], False
        self._show()
        return Goal(drawn.instruction, drawn.plan[: len(self.steps)], APP)

    def screen(self) -> bytes:
        return encode(decoded(self.page.screenshot()).quantize(COLOURS), "png", optimize=True).data

    def act(self, action: Action) -> bool:
        due = self.steps[0]
        if action.type in BOX_TYPES and action.coordinates:
            x, y = centre(as_box(tuple(value / SCALE for value in action.coordinates)))
            met = self.page.evaluate(MET, [min(max(x, 0), WIDTH - 1), min(max(y, 0), HEIGHT - 1)])
            if met is None or due.screen.elements[met].name is None:
                return False
            self._judge((action.type, met) == (due.gesture, due.target))
        elif action.type == "type" and due.gesture == "type":
            self._judge(plain(action.parameter) == due.text)
        else:
            return False
        return True

    def close(self) -> None:
        self.page.context.close()

    def reward(self) -> float | None:
        return 0.0 if self.failed else None if self.steps else 1.0

    def _judge(self, right: bool) -> None:
        self.failed = not right
        if right:
            self.steps = self.steps[1:]
            self._show()

    def _show(self) -> None:
        if self.steps:
            photo.show(self.page, [self.steps[0].screen])


def on(browser: Browser) -> Phone:
    """An environment on a page of its own."""
    page = chromium.new_page(browser, WIDTH, HEIGHT, SCALE)
    page.set_content(photo.STYLE)
    return Phone(page)


PAGES = Pages(tuple(KINDS), HELD_OUT_KINDS, on)
