"""A phone-sized Chromium page that plays MiniWoB++ tasks: start an episode, act with a finger, look, ask the reward.

Units: CSS pixels inside the browser, screenshot pixels (`SCALE` times as many) outside this module.
"""

import time
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Page

from overlay.data.images import decoded, encode
from overlay.live import chromium

WIDTH, HEIGHT, SCALE = 168, 224, 2  # 336 x 448 screenshots; both sides are multiples of 28, Qwen2.5-VL's patch pair
STYLE = (
    "#reward-display, #sync-task-cover, #click-canvas { display: none !important }"
    "#query { visibility: hidden }"  # the instruction goes into the prompt; some pages would show the answer here
    "* { caret-color: transparent !important; transition: none !important; animation: none !important }"
)
TARGET = """element => {
  const box = element.getClientRects()[0];
  if (!box) return [0, 0, 0, 0, false];
  const hit = (fx, fy) => {
    const seen = document.elementFromPoint(box.x + box.width * fx, box.y + box.height * fy);
    return seen !== null && (element.contains(seen) || seen.contains(element));
  };
  const points = [[.5, .5], [.3, .4], [.7, .4], [.3, .6], [.7, .6]];
  return [box.x, box.y, box.right, box.bottom, points.every(p => hit(...p))];
}"""


class Covered(Exception):
    """The target is not what a finger at its place would meet."""


def open_page() -> AbstractContextManager[Page]:
    """A page in Chromium with the phone's size; closed on exit."""
    return chromium.open_page(WIDTH, HEIGHT, SCALE)


def start(page: Page, task: str, seed: str) -> str:
    """Load the task's page, start one episode from `seed`, and return the instruction."""
    page.goto(Path(str(files("miniwob") / "html" / "miniwob" / f"{task}.html")).as_uri())
    page.add_style_tag(content=STYLE)
    page.evaluate("seed => { core.EPISODE_MAX_TIME = 1e6; Math.seedrandom(seed); core.startEpisodeReal(); }", seed)
    page.wait_for_timeout(60)
    return page.evaluate("core.getUtterance()")


def screenshot(page: Page) -> bytes:
    """The screen as a PNG of 64 colours, 336 x 448 pixels."""
    return encode(decoded(page.screenshot()).quantize(64), "png", optimize=True).data


def box_of(page: Page, element: str) -> tuple[float, float, float, float]:
    """CSS box (x1, y1, x2, y2) of a JavaScript expression's element; `Covered` when it is not on top or off screen."""
    x1, y1, x2, y2, on_top = page.evaluate(f"({TARGET})({element})")
    if not on_top or x1 < 0 or y1 < 0 or x2 > WIDTH or y2 > HEIGHT or x2 - x1 < 3 or y2 - y1 < 3:
        raise Covered(element)
    return x1, y1, x2, y2


def tap(page: Page, x: float, y: float) -> None:
    """Tap at CSS pixels.

    The pointer rests there first: pages swap in a hover picture, and while that loads the element has no size.
    """
    page.mouse.move(x, y)
    page.wait_for_timeout(60)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_timeout(60)


def swipe(page: Page, x: float, y1: float, y2: float) -> None:
    """Drag a finger from (x, y1) to (x, y2), CSS pixels, slowly enough that nothing flings."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, y: float | None = None) -> None:
        points = [] if y is None else [{"x": x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", y1)
    for step in range(1, 15):
        touch("touchMove", y1 + (y2 - y1) * step / 14)
        page.wait_for_timeout(16)
    page.wait_for_timeout(100)
    touch("touchEnd")
    session.detach()
    page.wait_for_timeout(100)


def settle(page: Page, since: float, seconds: float) -> None:
    """Sleep until `seconds` after `since` (time.monotonic)."""
    page.wait_for_timeout(max(0.0, since + seconds - time.monotonic()) * 1000)


def reward(page: Page) -> float | None:
    """The page's own reward (-1 to 1, without the time discount), or None while the episode runs."""
    return page.evaluate("WOB_DONE_GLOBAL ? WOB_RAW_REWARD_GLOBAL : null")
