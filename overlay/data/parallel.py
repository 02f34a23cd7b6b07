"""Ordered, bounded parallel map: results in the order of the work, whatever the number of workers."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def ordered_map(function: Callable[[Any], Any], items: Iterable, workers: int) -> Iterator[Any]:
    """Yield function(item) in order; at most 4 items per worker are under way, so memory stays flat.

    Workers are forked, so they start at once; an exception of `function` reaches the caller in the item's turn.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 4 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
