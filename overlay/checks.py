"""What a command line checks before its work starts: numbers, and whether its output can be written."""

import argparse
import math
import tempfile
from pathlib import Path

from overlay.errors import SettingError


def at_least(args: argparse.Namespace, **least: float) -> None:
    """Raises SettingError for a flag below its least value; None, for one that was not given, passes.

    >>> at_least(argparse.Namespace(workers=2, limit=None), workers=1, limit=0)
    """
    for name, lowest in least.items():
        value = getattr(args, name)
        if value is not None and not lowest <= value < math.inf:
            raise SettingError(f"--{name} {value}: a number of at least {lowest:g}")


def only_with(args: argparse.Namespace, other: str, words: str, *names: str) -> None:
    """Raises SettingError for a flag among `names` that was given without the flag `other`, which `words` name.

    >>> only_with(argparse.Namespace(max_pixels=None, processor=None), "processor", "--processor", "max_pixels")
    """
    for name in names:
        if getattr(args, name) not in (None, "", []) and not getattr(args, other):
            raise SettingError(f"--{name.replace('_', '-')}: needs {words}: give that too, or leave it out")


def writable_folder(folder: Path, flag: str = "--out") -> None:
    """Make the folder; SettingError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(f"{flag} {folder}: cannot be written ({error.strerror}): choose another") from error


def writable_file(path: Path, flag: str = "--out") -> None:
    """Make the file's folder; SettingError when the file is a folder, or nothing can be written there."""
    if path.is_dir():
        raise SettingError(f"{flag} {path}: is a folder: give a file")
    writable_folder(path.absolute().parent, flag)
