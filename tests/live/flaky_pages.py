"""Pages that do not always begin: seed 3 never, nor seed 7 in all that stands for it, and seed 5 not in the first
process that is asked for it. They write down which seeds they were asked for."""

import os
from pathlib import Path

from playwright.sync_api import Browser

from overlay.live.environment import Goal, Pages
from overlay.live.worker import STRIDE
from tests.live.own_pages import Countdown

ASKED = "FLAKY_PAGES"  # variable of the environment: a file that is there once seed 5 was asked for; the log beside it


class Flaky(Countdown):
    """See `overlay.live.environment.Environment`."""

    def reset(self, task: str, seed: int) -> Goal | None:
        with open(os.environ[ASKED] + ".log", "a", encoding="utf-8") as log:
            log.write(f"{seed}\n")
        if seed == 3 or seed % STRIDE == 7:
            raise RuntimeError("the page is blank")
        if seed == 5:
            try:
                Path(os.environ[ASKED]).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                return None
        return super().reset(task, seed)


def on(browser: Browser) -> Flaky:
    return Flaky()


PAGES = Pages(tasks=("countdown",), held_out=(), on=on)
