"""Debian's Chromium as a phone: a page of a given size and density, with a finger."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from overlay.errors import SettingError

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars", "--allow-file-access-from-files", "--font-render-hinting=none",
]  # fmt: skip


def _not_of_the_driver(record: logging.LogRecord) -> bool:
    """Symptom: a terminal's Ctrl-C ends Playwright's driver too, and asyncio prints three lines about a future that
    nobody asked for ("Connection closed while reading from the driver"), after the one line that says what was kept.
    Drop when tests/test_interrupts.py passes without it."""
    error = record.exc_info[1] if record.exc_info else None
    return "while reading from the driver" not in str(error)


logging.getLogger("asyncio").addFilter(_not_of_the_driver)


def check() -> None:
    """SettingError where there is no Chromium."""
    if not Path(CHROMIUM).exists():
        raise SettingError(f"{CHROMIUM} not found: install Debian's package `chromium`")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A Chromium without pages; closed on exit."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser, width: int, height: int, scale: int) -> Page:
    """A page of CSS pixels, `scale` screenshot pixels to each, with a finger."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale, has_touch=True)
    page.set_default_timeout(10_000)
    return page


@contextmanager
def open_page(width: int, height: int, scale: int) -> Iterator[Page]:
    """A page in a browser of its own."""
    with open_browser() as browser:
        yield new_page(browser, width, height, scale)
