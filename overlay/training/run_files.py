"""Names of files that a run writes, and their lines as they come, while it may still be writing. Standard library."""

import os
from pathlib import Path

LOG = "log.jsonl"
RECORD = "run.json"
AT_ONCE = 1 << 26  # bytes of one look


class Tail:
    """Whole new lines of a file that grows at its end. A last line without its newline is none yet, whether its writer
    is at it or was killed. `last`: bytes, from its end, that the first look at a file reads at most."""

    def __init__(self, path: Path, last: int | None = None):
        self.path, self.last = path, last
        self.file: int | None = None  # its inode
        self.offset = 0

    def lines(self) -> tuple[bool, list[bytes]]:
        """(whether another file has taken the place of the one read so far, the lines since the last look)."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                anew = self.file is not None and (status.st_ino != self.file or status.st_size < self.offset)
                cut = 0
                if anew:
                    self.offset = 0
                elif self.file is None and self.last is not None:
                    self.offset = cut = max(0, status.st_size - self.last)
                self.file = status.st_ino
                file.seek(self.offset)
                whole, newline, _ = file.read(AT_ONCE).rpartition(b"\n")
        except OSError:  # not there yet, or not any more
            return False, []
        self.offset += len(whole) + len(newline)
        found = whole.split(b"\n") if newline else []
        return anew, found[1:] if cut else found
