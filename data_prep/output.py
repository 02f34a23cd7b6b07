"""Write a file aside and rename it: a reader sees the old file or the whole new one, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from overlay.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Binary file that becomes `path` when the block ends well and vanishes when it raises."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
