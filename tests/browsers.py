"""Pages of a browser for tests, several at once: a page mostly waits."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from overlay.live.miniwob import browser

SECONDS = 300  # for one piece of work


class Pages:
    """`count` phone-sized pages, each in a browser and a thread of its own, opened when there is work.

    A thread, because Playwright's synchronous form holds the thread's event loop, which code under test may need.
    """

    def __init__(self, count: int):
        self.work: queue.SimpleQueue = queue.SimpleQueue()
        self.threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Future:
        """`function(page, **arguments)` on the next free page, which may leave it as it likes."""
        if not self.threads[0].ident:
            for thread in self.threads:
                thread.start()
        result: Future = Future()
        self.work.put((result, function, arguments))
        return result

    def _serve(self) -> None:
        with browser.open_page() as page:
            while job := self.work.get():
                result, function, arguments = job
                try:
                    result.set_result(function(page, **arguments))
                except Exception as error:  # noqa: BLE001  raised where the result is asked for
                    result.set_exception(error)

    def close(self) -> None:
        """Close all pages and browsers."""
        for thread in self.threads:
            if thread.ident:
                self.work.put(None)
        for thread in self.threads:
            if thread.ident:
                thread.join()


def begin(request: pytest.FixtureRequest, pages: Pages, function: Callable[..., Any]) -> Callable[..., Any]:
    """For a fixture: begins `function(page, **parameters)` for every chosen test that uses it, with the test's
    parameters, all at once. Returns a function of the same parameters that waits for the result."""
    chosen = [item.callspec.params for item in request.session.items if request.fixturename in item.fixturenames]
    begun = {tuple(sorted(each.items())): pages.submit(function, **each) for each in chosen}
    return lambda **parameters: begun[tuple(sorted(parameters.items()))].result(SECONDS)
