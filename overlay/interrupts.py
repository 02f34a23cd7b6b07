"""Ctrl-C at any moment of a command: one line at most, status 130, no traceback.

`python -m overlay...` imports for seconds before its `main` stands under `overlay.errors.command`, and clears up for a
moment after it. From the first import of ours on `quiet` has Ctrl-C end the process there and then, for nothing has
begun and nothing is left; `raised` makes it a KeyboardInterrupt again while `main` runs. Of a command and the processes
that it starts, which a terminal's Ctrl-C reaches as well, the first alone says so. What comes before the first import,
the interpreter's own start, is beyond reach. Standard library only.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

STOPPED = 128 + signal.SIGINT
FIRST = "OVERLAY_COMMAND"  # variable: process id of the command that a terminal's user has started


def quiet() -> None:
    """Have Ctrl-C end this process in one line, where it runs a module of ours and Python's own handler stands."""
    if sys.argv[:1] != ["-m"] or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    os.environ.setdefault(FIRST, str(os.getpid()))
    signal.signal(signal.SIGINT, _leave)


def speaks() -> bool:
    """Whether this process is to say that Ctrl-C ended it: no command of ours stands above it."""
    return os.environ.get(FIRST) in (None, str(os.getpid()))


@contextmanager
def raised() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt in the block, also where one was raised in a destructor, which Python would only
    report. Nothing changes where `quiet` did not, as in a test."""
    if signal.getsignal(signal.SIGINT) is not _leave:
        yield
        return
    before = sys.unraisablehook

    def again(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        else:
            before(unraisable)

    sys.unraisablehook = again
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _leave)
        sys.unraisablehook = before


def _leave(number: int, frame: Any) -> None:
    if speaks():
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else sys.argv[0]
        os.write(2, f"{module}: stopped\n".encode())
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # in the middle of a write, or closed
            stream.flush()
    os._exit(STOPPED)
