"""One process with one Chromium and several environments in it, for `overlay.live.fleet`.

    python -m overlay.live.worker FD phone          FD: a connection of multiprocessing that it inherits

A message is a list of commands, (slot, method, arguments), and is answered by a list of `Seen` or, where the page
failed, `Lost`. A page that failed is opened anew at its next reset; a browser that is gone ends the process, without an
answer where it was gone before.
"""

import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from playwright.sync_api import Browser, Error

from overlay.action.action import Action
from overlay.live.chromium import open_browser
from overlay.live.environment import Environment, Lost, Seen
from overlay.live.kinds import pages_of

SEEDS_TRIED, STRIDE = 20, 1_000_003  # what is drawn for a seed that cannot be solved


class Worker:
    """The environments of one browser, by slot. `kind`: see `overlay.live.kinds`."""

    def __init__(self, browser: Browser, kind: str):
        self.browser, self.pages = browser, pages_of(kind)
        self.open: dict[int, Environment] = {}

    def reset(self, slot: int, task: str, seed: int) -> Seen | Lost:
        """Begin an episode."""
        if slot not in self.open:
            self.open[slot] = self.pages.begun(self.browser)
        environment = self.open[slot]
        for tried in range(SEEDS_TRIED):
            played = seed + tried * STRIDE
            goal = environment.reset(task, played)
            if goal is not None:
                return Seen(environment.screen(), environment.reward(), goal, played)
        return Lost(f"{task}: none of {SEEDS_TRIED} seeds can be solved")

    def act(self, slot: int, action: Action) -> Seen:
        """Do an action, coordinates in screenshot pixels."""
        environment = self.open[slot]
        environment.act(action)
        return Seen(environment.screen(), environment.reward())

    def do(self, slot: int, method: str, arguments: tuple[Any, ...]) -> Seen | Lost:
        """One command."""
        try:
            return getattr(self, method)(slot, *arguments)
        except Exception as error:  # noqa: BLE001  whatever a page does costs its episode, and is told
            if (failed := self.open.pop(slot, None)) is not None:
                with suppress(Exception):
                    failed.close()
            return Lost(f"{type(error).__name__}: {error}".splitlines()[0])


def main(descriptor: int, kind: str) -> None:
    """Answer until the other side hangs up or the browser is gone."""
    connection = Connection(descriptor)
    with open_browser() as browser:
        worker = Worker(browser, kind)
        while browser.is_connected():
            try:
                commands = connection.recv()
            except EOFError:
                return
            seen = [worker.do(*command) for command in commands]
            if all(isinstance(one, Lost) for one in seen) and not _answers(browser):
                return
            try:
                connection.send(seen)
            except OSError:  # nobody waits any more
                return


def _answers(browser: Browser) -> bool:
    """Whether the browser is there; that it is gone may be told late."""
    try:
        browser.new_context().close()
    except Error:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
