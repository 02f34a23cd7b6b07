"""Run git and say plainly when it fails. Standard library only."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overlay.errors import GitError


class Git:
    """git in one work tree, without line-end conversion and, if given, with another index file."""

    def __init__(self, folder: Path, index: Path | None = None):
        self.folder = folder
        self.environment = os.environ | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        if index is not None:
            self.environment["GIT_INDEX_FILE"] = str(index)

    def __call__(self, *arguments: str, data: bytes | None = None, **environment: str) -> str:
        """Standard output, without the line end; GitError when git fails."""
        return self.bytes(*arguments, data=data, **environment).decode("utf-8", "surrogateescape").rstrip("\n")

    def bytes(self, *arguments: str, data: bytes | None = None, **environment: str) -> bytes:
        """Standard output as it is."""
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            input=data,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise GitError(f"git {arguments[0]}: {lines[-1]}")
        return done.stdout

    def names(self, *arguments: str) -> list[str]:
        """Paths of a `-z` listing."""
        return [os.fsdecode(name) for name in self.bytes(*arguments).split(b"\0") if name]

    @contextmanager
    def scratch(self, tree: str | None = None) -> Iterator["Git"]:
        """The same repository with a temporary index that holds `tree`, or a copy of the present index."""
        with tempfile.TemporaryDirectory(prefix="patching-") as folder:
            index = Path(folder) / "index"
            if tree is None:
                # With its time: git takes a file that is younger than the index for one that may have changed.
                shutil.copy2(self("rev-parse", "--path-format=absolute", "--git-path", "index"), index)
            scratch = Git(self.folder, index)
            if tree is not None:
                scratch("read-tree", tree)
            yield scratch
