"""Oracles of pages that have to be scrolled."""

import re
from collections.abc import Iterator

from playwright.sync_api import Page

from overlay.live.miniwob.oracles.parts import Act, asked, click, one, submit, typed


def scroll_to(page: Page, end: str) -> Iterator[Act]:
    area = one("#text-area")
    rest = f"({area}.scrollHeight - {area}.clientHeight - {area}.scrollTop)" if end == "bottom" else f"{area}.scrollTop"
    while page.evaluate(rest) > 5:
        yield Act("swipe", f"Scroll the text to the {end}", area, direction="up" if end == "bottom" else "down")


def scroll_text(page: Page) -> Iterator[Act]:
    yield from scroll_to(page, asked(page, r"bottom|top"))
    yield submit()


def last_word(page: Page) -> Iterator[Act]:
    word = re.sub("[^a-zA-Z0-9]", "", page.evaluate("document.querySelector('#text-area').value").split()[-1])
    yield from scroll_to(page, "bottom")
    yield click(one("#answer-input"), "Tap the text field")
    yield typed(word)
    yield submit()
