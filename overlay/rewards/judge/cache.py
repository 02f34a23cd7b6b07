"""Verdicts on disk, shared by the ranks of a node and by later runs (LMDB: many processes, no server).

Keyed by model, prompt version, gold and answer. The folder must be node-local: LMDB's locks do not work on network
file systems.
"""

import hashlib
import json
import os
import struct
import tempfile
from functools import cache
from pathlib import Path

import lmdb

SIZE = 1 << 30  # bytes at most; about five million verdicts


def default_folder() -> Path:
    """A folder of this user in the node's temporary folder."""
    return Path(tempfile.gettempdir()) / f"overlay-judge-{os.getuid()}"


@cache
def _environment(folder: str, process: int) -> lmdb.Environment:  # once in a process; one must not outlive a fork
    path = Path(folder)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user; choose another --judge_cache_dir")
    return lmdb.open(folder, map_size=SIZE, max_readers=1024, metasync=False, sync=False)


class Verdicts:
    """Scores by (gold, answer) of one model and prompt version."""

    def __init__(self, folder: str | Path, model: str, prompt_version: str):
        self.folder, self.prefix = str(folder), (model, prompt_version)
        self.full = False

    def _key(self, gold: str, answer: str) -> bytes:
        return hashlib.sha256(json.dumps([*self.prefix, gold, answer]).encode()).digest()

    def find(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """The pairs whose score is known."""
        with _environment(self.folder, os.getpid()).begin() as transaction:
            found = {pair: transaction.get(self._key(*pair)) for pair in pairs}
        return {pair: struct.unpack("d", value)[0] for pair, value in found.items() if value is not None}

    def keep(self, scores: dict[tuple[str, str], float]) -> None:
        """Add scores; a full cache is left as it is."""
        if self.full or not scores:
            return
        try:
            with _environment(self.folder, os.getpid()).begin(write=True) as transaction:
                for pair, score in scores.items():
                    transaction.put(self._key(*pair), struct.pack("d", score))
        except lmdb.MapFullError:
            self.full = True
