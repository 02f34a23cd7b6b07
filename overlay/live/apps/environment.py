"""The apps as an environment. When the model says that the task is done, or impossible, the end state is judged; how it
came about is not looked at."""

import json
import random
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, Page

from overlay.action.action import BOX_TYPES, Action, as_box, centre, plain
from overlay.data.images import decoded, encode
from overlay.live import chromium
from overlay.live.apps.catalogue import APPS, HELD_OUT, TASKS, Drawn, draw
from overlay.live.apps.tasks import judge
from overlay.live.environment import Goal, Pages
from overlay.live.phone.environment import COLOURS, SCALE
from overlay.live.phone.screen import HEIGHT, THEMES, WIDTH
from overlay.live.phone.tasks import PLAN
from overlay.live.phone.words import ICONS

BEGIN = "([app, state, lang, colours, steps]) => { begin(app, state, lang, colours); return rehearse(steps) }"


class Apps:
    """See `overlay.live.environment.Environment`. The plan is as long as the oracle's way, and gives nothing away."""

    def __init__(self, page: Page):
        self.page, self.verdict = page, None
        self.drawn: Drawn

    def reset(self, task: str, seed: int) -> Goal:
        self.drawn, self.verdict = draw(task, seed), None
        drawn, colours = self.drawn, THEMES[random.Random(seed).randrange(len(THEMES))]
        style = "".join(
            f"--{name}:{value};" for name, value in zip(("page", "surface", "ink", "accent"), colours, strict=True)
        )
        way = self.page.evaluate(
            BEGIN, [drawn.app, drawn.start, drawn.lang, f"{style}--line:{colours[2]}33", drawn.task.steps]
        )
        if way is None:
            raise RuntimeError(f"{task} seed {seed}: the oracle meets an element that is not there")
        steps = len(way) + 1
        if drawn.task.impossible:  # its length does not say that there is nothing to do
            steps = max(steps, random.Random(f"{task} {seed} steps").randint(3, 6))
        return Goal(drawn.task.says, [PLAN[drawn.lang]] * steps, drawn.title)

    def screen(self) -> bytes:
        return encode(decoded(self.page.screenshot()).quantize(COLOURS), "png", optimize=True).data

    def act(self, action: Action) -> bool:
        css = tuple(value / SCALE for value in action.coordinates or ())
        if action.type in BOX_TYPES and css:
            x, y = centre(as_box(css))
            at = [min(max(x, 0), WIDTH - 1), min(max(y, 0), HEIGHT - 1), action.type == "long_click"]
            return self.page.evaluate("([x, y, hold]) => touch(x, y, hold)", at)
        if action.type == "swipe" and len(css) == 4:
            return self.page.evaluate("by => scroll(by)", css[1] - css[3])
        if action.type == "type":
            return self.page.evaluate("text => write(text)", plain(action.parameter))
        if action.type == "back":
            return self.page.evaluate("() => { const deep = S.ui.stack.length > 1; run('back'); return deep }")
        if action.type in ("task_completed", "task_impossible"):
            self.verdict = judge(self.drawn.start, self.drawn.task, self.state(), action.type)
            return True
        return False

    def close(self) -> None:
        self.page.context.close()

    def reward(self) -> float | None:
        return self.verdict

    def state(self) -> dict[str, Any]:
        """The app's state, without where the phone is in it."""
        return self.page.evaluate("data()")


def oracle(environment: Apps) -> Iterator[Action]:
    """The actions of the oracle's way, each for the screen that is shown when it is asked for."""
    for step in environment.drawn.task.steps:
        while True:
            due = environment.page.evaluate("step => due(step)", step)
            if due is None:
                raise RuntimeError(f"{environment.drawn.task.says}: no element does {step}")
            kind, value, *_ = due
            yield Action(kind, value if kind == "type" else ",".join(str(number * SCALE) for number in value))
            if kind != "swipe":
                break
    yield Action(environment.drawn.task.answer, "")


def on(browser: Browser) -> Apps:
    """An environment on a page of its own."""
    page = chromium.new_page(browser, WIDTH, HEIGHT, SCALE)
    web = files("overlay.live.apps") / "web"
    parts = [(web / f"{name}.js").read_text(encoding="utf-8") for name in ("frame", *APPS)]
    icons = json.dumps({name: path for name, (_, path) in ICONS.items()})
    css = (web / "frame.css").read_text(encoding="utf-8")
    script = "\n".join([f"const ICONS = {icons};", *parts])
    page.set_content(f"<style>{css}</style><div id='phone'></div><script>{script}</script>")
    return Apps(page)


IMPOSSIBLE = tuple(name for name in TASKS if draw(name, 0).task.impossible)
PAGES = Pages(tuple(TASKS), HELD_OUT, on, IMPOSSIBLE)
