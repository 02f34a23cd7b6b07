"""Ordered, bounded parallel map: results in the order of the work, whatever the number of workers."""

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


def ordered_map(function: Callable[[Any], Any], items: Iterable, workers: int) -> Iterator[Any]:
    """Yield function(item) in order; at most 4 items per worker are under way, so memory stays flat.

    Workers are forked, so they start at once; an exception of `function` reaches the caller in the item's turn.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, initializer=_leave_it_to_the_parent) as pool:
        pending = deque()
        for item in items:
            with _uninterrupted():  # submitting starts workers
                pending.append(pool.submit(function, item))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _leave_it_to_the_parent() -> None:
    """Ctrl-C reaches every process of the terminal's group; the parent alone says so, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block is over: in the middle of a start it leaves workers that nobody ends, which Python
    then waits for at exit. By a handler, for a blocked signal reaches the main thread through any other one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda *what: told.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if told and callable(before):
        before(*told[0])
