"""Every error that a user can cause, and the one place that makes a line and an exit status of it.

A message is one line: what is wrong, where (file and line where there is one), what to do. Standard library only.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import wraps
from typing import Any, NoReturn

from overlay import interrupts

Main = Callable[..., int]  # argv: list[str] | None = None
ENDED = "OVERLAY_ENDED"  # variable: the launcher's file for "STATUS reason" of an end that must not be repeated
LONGEST = 2000  # characters of a line
UNKNOWN = "unrecognized arguments: "  # argparse's
FINAL = (2, 4)  # statuses of such ends: refused, stopped on purpose


class UserError(Exception):
    """Something that the user can mend. `status`: what a command line that meets it exits with."""

    status = 2


class SettingError(UserError, ValueError):
    """Settings that cannot work, or not together."""


class DataError(UserError, ValueError):
    """Bad data, or a bad setting about data."""


class SourceError(DataError):
    """A published dataset's file that cannot be read as its format says; the message names it."""


class NodesError(SettingError):
    """This node's place in a job of several cannot be told."""


class NodeFailed(UserError, RuntimeError):
    """This node of several cannot go on."""

    status = 1


class GitError(UserError, RuntimeError):
    """git failed; the message is its last line."""

    status = 1


class PatchError(UserError, RuntimeError):
    """The patch series is at fault; the message names the patch."""

    status = 1


class Refused(UserError, RuntimeError):
    """A work tree is in a state that must not be touched; the message names the files."""

    status = 1


class ServerFailed(UserError, RuntimeError):
    """A server that was asked gave no answer; the message names it."""

    status = 1


class Unanswered(UserError, RuntimeError):
    """Some rows of a score have no answer."""

    status = 3


class Stopped(UserError, RuntimeError):
    """Ctrl-C ended a program that kept what it had; the message says what, and how to go on."""

    status = 130


class RunStopped(UserError, SystemExit):
    """A training run that ended early, on purpose; the message says why and what to do. Python itself makes a line of
    it, with status 1, where nothing of ours stands around it."""

    status = 4


class Finished(UserError, SystemExit):
    """There is nothing left to do; the message says what is there already."""

    status = 0


class Arguments(argparse.ArgumentParser):
    """A parser of a command line, whose faults are one line like all others; a beginning of a flag is none. Raises
    SettingError."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}{nearest_flag(message, self)} (--help tells what there is)")


def nearest_flag(message: str, parser: argparse.ArgumentParser) -> str:
    """Which flag is meant by the first one in an argparse message about unknown ones; empty where none is near."""
    if not message.startswith(UNKNOWN):
        return ""
    word = message.removeprefix(UNKNOWN).split()[0].partition("=")[0]
    return nearest(word, [name for action in parser._actions for name in action.option_strings])


def nearest(word: str, known: Iterable[str]) -> str:
    """`: did you mean X?` for the nearest of the known words, empty where none is near.

    >>> nearest("--promt", ["--prompt", "--out"])
    ': did you mean --prompt?'
    """
    found = get_close_matches(word, known, 1)
    return f": did you mean {found[0]}?" if found else ""


def command(program: str, *more: type[Exception]) -> Callable[[Main], Main]:
    """Decorate a command line's `main(argv) -> status`: a UserError, a path that cannot be read or written, or one of
    `more` becomes one line on standard error, `program: message`, and a status; so does Ctrl-C.

    >>> @command("say")
    ... def main(argv=None):
    ...     raise SettingError("--loud 3: at most 2")
    >>> main([])
    2
    """

    def decorate(main: Main) -> Main:
        @wraps(main)
        def guarded(argv: list[str] | None = None) -> int:
            try:
                with interrupts.raised():
                    return main(argv)
            except UserError as error:
                return _refuse(program, error)
            except KeyboardInterrupt:
                return _tell(program, "stopped", interrupts.STOPPED) if interrupts.speaks() else interrupts.STOPPED
            except more as error:
                return _tell(program, error, 2)
            except OSError as error:
                if error.filename is None:  # not about a path of the user's
                    raise
                return _tell(program, f"{error.filename}: {error.strerror}", 2)

        return guarded

    return decorate


@contextmanager
def refused_as_settings(*kinds: type[Exception]) -> Iterator[None]:
    """What a library raises, while it is made, about the settings that it was given: a SettingError of its first line
    that says anything."""
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise SettingError(lines[0] if lines else type(error).__name__) from error


@contextmanager
def foreign_script(*more: type[Exception]) -> Iterator[None]:
    """Under a script that is not ours (VLM-R1's): a UserError, or one of `more`, ends the process with its one line and
    its status."""
    try:
        yield
    except more as error:
        raise SystemExit(_tell("overlay", error, 2)) from error
    except UserError as error:
        raise SystemExit(_refuse("overlay", error)) from error


def _refuse(program: str, error: UserError) -> int:
    if error.status in FINAL and os.environ.get(ENDED):
        try:
            with open(os.environ[ENDED], "x", encoding="utf-8") as file:
                file.write(f"{error.status} {_line(error)}\n")
        except FileExistsError:  # another rank has said it
            return error.status
        except OSError:
            pass
    return _tell(program, error, error.status)


def _tell(program: str, what: object, status: int) -> int:
    print(f"{program}: {_line(what)}", file=sys.stderr)
    return status


def shortened(line: str) -> str:
    """A line as people can read it: it may quote a data file's text, of whatever length."""
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def _line(what: object) -> str:
    return shortened((str(what).strip() or type(what).__name__).splitlines()[0])
