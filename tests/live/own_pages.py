"""An environment of one's own, as docs/episodes.md shows it: count down by clicks in the right half."""

from PIL import Image, ImageDraw
from playwright.sync_api import Browser

from overlay.action.action import Action
from overlay.data.images import encode
from overlay.live.environment import Goal, Pages


class Countdown:
    """See `overlay.live.environment.Environment`."""

    def __init__(self):
        self.left, self.verdict = 0, None

    def reset(self, task: str, seed: int) -> Goal:
        self.left, self.verdict = 1 + seed % 3, None
        return Goal("Tap the right half until nothing is left", ["Tap the right half"] * self.left, "countdown")

    def screen(self) -> bytes:
        image = Image.new("RGB", (112, 168), "white")
        ImageDraw.Draw(image).text((50, 80), str(self.left), "black")
        return encode(image, "png").data

    def act(self, action: Action) -> bool:
        if action.type != "click" or not action.coordinates:
            return False
        if action.coordinates[0] < 56:
            self.verdict = 0.0
        else:
            self.left -= 1
            self.verdict = None if self.left else 1.0
        return True

    def reward(self) -> float | None:
        return self.verdict

    def close(self) -> None:
        """There is nothing to give up."""


def on(browser: Browser) -> Countdown:
    return Countdown()


PAGES = Pages(tasks=("countdown",), held_out=(), on=on)
