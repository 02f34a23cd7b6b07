"""Pages in 1, 2 and 4 browsers: resets and actions a second, memory of a browser; eight pages of each kind.

An action is a tap at a drawn place with the screenshot after it, as in `--episodes live`. Ratios are of actions,
against one page in one browser: environments that run one after another, as peers run them.
"""

import random
import time
from contextlib import closing
from typing import Any

import psutil

from overlay.action.action import Action
from overlay.live.environment import Seen
from overlay.live.fleet import Fleet
from overlay.live.kinds import PAGES

PAGES_AT_ONCE, ROUNDS, SIZE = 8, 3, (448, 672)


def _together(found: dict[int, Any]) -> None:
    lost = [answer.reason for answer in found.values() if not isinstance(answer, Seen)]
    if lost:
        raise RuntimeError(lost[0])


def _memory(pid: int) -> float:
    """PSS of a process and all below it, MB."""
    own = psutil.Process(pid)
    found = 0
    for process in [own, *own.children(recursive=True)]:
        try:
            found += process.memory_full_info().pss
        except psutil.NoSuchProcess:  # it has ended
            continue
    return found / 1e6


def side(kind: str, browsers: int, pages: int) -> tuple[float, float, float]:
    """(resets a second, actions a second, MB of a browser with its worker) of `pages` pages in `browsers`."""
    rng, tasks = random.Random(0), PAGES[kind].tasks
    with closing(Fleet(kind, browsers)) as fleet:
        begin = lambda seed: {n: ("reset", (tasks[(n + seed) % len(tasks)], seed)) for n in range(pages)}  # noqa: E731
        _together(fleet.do(begin(0)))  # browsers start
        started = time.perf_counter()
        for seed in range(1, ROUNDS + 1):
            _together(fleet.do(begin(seed)))
        resets = pages * ROUNDS / (time.perf_counter() - started)
        spent, done = 0.0, 0
        for seed in range(ROUNDS):
            _together(fleet.do(begin(seed)))
            taps = {n: ("act", (Action("click", [rng.uniform(0, side) for side in SIZE]),)) for n in range(pages)}
            started = time.perf_counter()
            _together(fleet.do(taps))
            spent += time.perf_counter() - started
            done += pages
        memory = [_memory(process.pid) for process in fleet.processes if process is not None]
    return resets, done / spent, sum(memory) / len(memory)


def main() -> None:
    """Print a table."""
    print(f"{'':8} {'browsers':>8} {'pages':>6} {'resets/s':>9} {'actions/s':>10} {'ratio':>6} {'MB each':>8}")
    for kind in PAGES:
        alone = None
        for browsers, pages in ((1, 1), (1, PAGES_AT_ONCE), (2, PAGES_AT_ONCE), (4, PAGES_AT_ONCE)):
            resets, actions, memory = side(kind, browsers, pages)
            alone = alone or actions
            print(
                f"{kind:8} {browsers:8} {pages:6} {resets:9.1f} {actions:10.1f} {actions / alone:6.2f} {memory:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
