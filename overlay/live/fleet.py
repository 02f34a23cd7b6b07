"""Many environments at once, in processes with a browser each; what dies there costs episodes, not the run."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from typing import Any

from overlay.live.environment import Lost, Seen

DEADLINE = 120.0  # seconds for a round of commands; a browser that has not answered hangs

ENDED, HUNG = Lost("its browser has ended"), Lost("its browser gave no answer in time")

Command = tuple[str, tuple[Any, ...]]  # method of `overlay.live.worker.Worker`, its arguments after the slot


class Process:
    """One worker process. `connection`: to it; `pid`: its process id."""

    def __init__(self, kind: str):
        self.connection, theirs = Pipe()
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "overlay.live.worker", str(theirs.fileno()), kind], pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, start_new_session=True, env=environment,
        )  # fmt: skip
        theirs.close()
        self.pid = self.process.pid

    def close(self) -> None:
        """Hang up; what does not end by that is ended, its browser too (they are a session of their own)."""
        self.connection.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()


class Fleet:
    """`browsers` processes for environments of a `kind`, numbered from 0; number n is in process n modulo `browsers`.
    Processes start at the first reset, and again after their end."""

    def __init__(self, kind: str, browsers: int):
        self.kind = kind
        self.processes: list[Process | None] = [None] * browsers
        self.sent: dict[int, list[tuple]] = {}  # place → messages without an answer so far
        self.deadline = 0.0

    def do(self, commands: dict[int, Command]) -> dict[int, Seen | Lost]:
        """One command for each of some environments, all processes at a time."""
        self.start(commands)
        return self.finish()

    def start(self, commands: dict[int, Command]) -> None:
        """`do`, of which `finish` has the answers; nothing else may be asked in between."""
        assert not self.sent
        for number, command in commands.items():
            self.sent.setdefault(number % len(self.processes), []).append((number, *command))
        for place, messages in self.sent.items():
            self._send(place, messages)
        self.deadline = time.monotonic() + DEADLINE

    def finish(self) -> dict[int, Seen | Lost]:
        """The answers to what was started."""
        found: dict[int, Seen | Lost] = {}
        for place, sent in self.sent.items():
            answers = self._received(place, len(sent), self.deadline)
            if _are_resets(sent) and ENDED in answers:  # it died between two episodes: nothing is lost by that
                self._send(place, sent)
                answers = self._received(place, len(sent), time.monotonic() + DEADLINE)
            found.update(zip((number for number, *_ in sent), answers, strict=True))
        self.sent = {}
        return found

    def close(self) -> None:
        """End all processes."""
        for place in range(len(self.processes)):
            self._end(place)

    def _send(self, place: int, messages: list[tuple]) -> None:
        if self.processes[place] is None and _are_resets(messages):
            self.processes[place] = Process(self.kind)
        if (process := self.processes[place]) is not None:
            try:
                process.connection.send(messages)
            except OSError:
                self._end(place)

    def _received(self, place: int, count: int, end: float) -> list[Seen | Lost]:
        process = self.processes[place]
        if process is None:
            return [ENDED] * count
        try:
            if process.connection.poll(max(0.0, end - time.monotonic())):
                return process.connection.recv()
            lost = HUNG
        except (EOFError, OSError):
            lost = ENDED
        self._end(place)
        return [lost] * count

    def _end(self, place: int) -> None:
        process, self.processes[place] = self.processes[place], None
        if process is not None:
            process.close()


def _are_resets(messages: list[tuple]) -> bool:
    return all(method == "reset" for _, method, _ in messages)
