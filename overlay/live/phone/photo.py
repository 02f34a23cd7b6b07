"""Screens of our own pages as pictures, many at a time, with the boxes that the browser gave their elements."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image
from playwright.sync_api import Page

from overlay.data.images import decoded
from overlay.live import chromium
from overlay.live.phone.screen import CSS, HEIGHT, WIDTH, Screen

ACROSS, DOWN = 8, 8  # screens in one screenshot
STYLE = f"<style>{CSS} body {{ margin: 0 }} .screen {{ float: left }}</style><main></main>"
BOXES = """() => [...document.querySelectorAll('.screen')].map(screen => {
  const at = screen.getBoundingClientRect();
  const box = element => {
    const r = element.getBoundingClientRect();
    return [r.x - at.x, r.y - at.y, r.right - at.x, r.bottom - at.y];
  };
  const shown = element => {
    const r = element.getBoundingClientRect();
    const seen = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
    return seen !== null && element.closest('[data-n]').contains(seen);
  };
  return {
    elements: [...screen.querySelectorAll('[data-n]')].map(box),
    words: [...screen.querySelectorAll('[data-w]')].filter(shown).map(e => [e.dataset.w, ...box(e)]),
  };
})"""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Photo:
    """A picture of `scale` times WIDTH x HEIGHT pixels; `boxes` of the elements and `words` that nothing covers, both
    in CSS pixels."""

    image: Image.Image
    boxes: list[Box]
    words: list[tuple[str, Box]]


@contextmanager
def open_page(scale: int) -> Iterator[Page]:
    """A browser page that `photograph` takes."""
    with chromium.open_page(ACROSS * WIDTH, DOWN * HEIGHT, scale) as page:
        page.set_content(STYLE)
        yield page


def show(page: Page, screens: Sequence[Screen]) -> None:
    """Put the screens on the page."""
    page.evaluate("html => { document.querySelector('main').innerHTML = html }", "".join(s.html() for s in screens))


def photograph(page: Page, screens: Sequence[Screen]) -> Iterator[Photo]:
    """The screens in order, `ACROSS` x `DOWN` in each screenshot."""
    for first in range(0, len(screens), ACROSS * DOWN):
        part = screens[first : first + ACROSS * DOWN]
        show(page, part)
        found = page.evaluate(BOXES)
        sheet = decoded(page.screenshot())
        width, height = sheet.width // ACROSS, sheet.height // DOWN
        for number, each in enumerate(found):
            y, x = divmod(number, ACROSS)
            image = sheet.crop((x * width, y * height, (x + 1) * width, (y + 1) * height))
            words = [(word, tuple(box)) for word, *box in each["words"]]
            yield Photo(image, [tuple(box) for box in each["elements"]], words)
