"""Runs of several processes for tests, forked from tests.forkserver instead of started by torchrun."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stock import ROOT

# One thread each, as torchrun sets it; no CUDA; and pyarrow's allocator without its thread.
SERVER = {
    "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}  # fmt: skip


@dataclass
class Ended:
    """What a run left: each rank's exit status (negative: a signal), and what all of them printed, rank by rank."""

    statuses: list[int]
    out: str
    err: str


class Job:
    """Running ranks. `pids`: their process ids, which may be killed."""

    def __init__(self, connection: socket.socket, log: Path):
        self.connection, self.log = connection, log
        self.lines = connection.makefile("rb", buffering=0)
        self.pids: list[int] = json.loads(self.lines.readline())

    def running(self) -> bool:
        """Whether some rank has not ended yet."""
        return not select.select([self.connection], [], [], 0)[0]

    def wait(self, seconds: float = 300) -> Ended:
        """The end of all ranks; the test fails, and they are ended, when it does not come in time."""
        self.connection.settimeout(seconds)
        try:
            statuses = json.loads(self.lines.readline())
        except TimeoutError:
            pytest.fail(f"still running after {seconds} s: {self.printed('err')[-3000:]}")
        finally:
            self.close()
        return Ended(statuses, self.printed("out"), self.printed("err"))

    def printed(self, stream: str) -> str:
        """What all ranks have printed on `out` or `err`."""
        files = sorted(self.log.parent.glob(f"{self.log.name}.*.{stream}"))
        return "".join(file.read_text(errors="replace") for file in files)

    def close(self) -> None:
        """Hang up; ranks that still run are ended."""
        self.lines.close()
        self.connection.close()


class ForkServer:
    """The server of one test session; it imports while the session goes on."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="forkserver-")
        self.path, self.log = (Path(self.folder.name, name) for name in ("socket", "log"))
        with socket.socket(socket.AF_UNIX) as listener, open(self.log, "w") as log:
            listener.bind(str(self.path))
            listener.listen()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.forkserver", str(listener.fileno())], pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=os.environ | SERVER,
            )  # fmt: skip

    def start(
        self,
        command: Sequence[object],
        log: Path,
        ranks: int | None = None,
        variables: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> Job:
        """Start `python COMMAND` in `folder`, once (ranks: None) or as each rank of one node's torchrun; `log`: where
        their output goes, `<log>.<rank>.out` and `.err`."""
        request = {
            "command": [str(word) for word in command], "ranks": ranks, "folder": str(folder), "log": str(log),
            "environment": os.environ | SERVER | {"PYTHONPATH": str(ROOT)} | dict(variables or {}),
        }  # fmt: skip
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(120)  # the server may still be importing
        try:
            connection.connect(str(self.path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            return Job(connection, log)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"the fork server: {error}: {self.log.read_text()[-3000:]}") from error

    def run(self, command: Sequence[object], log: Path, ranks: int | None = None, **more) -> Ended:
        """The same, and wait for its end."""
        return self.start(command, log, ranks, **more).wait()

    def close(self) -> None:
        self.process.communicate(timeout=30)  # closes its standard input
        self.folder.cleanup()
