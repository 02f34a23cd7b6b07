"""Nodes for tests: network namespaces with an address, a host name and an interface of their own, on one bridge."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

HOSTS = Path("/etc/netns")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Nodes:
    """`count` nodes, 10.77.0.1 and up. `close` ends what runs in them and takes them away."""

    def __init__(self, count: int):
        self.prefix, self.count = f"gui{os.getpid()}", count
        self.started: list[subprocess.Popen] = []
        hub = f"{self.prefix}-hub"
        try:
            ip("netns", "add", hub)
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("NEEDS NETWORK NAMESPACES: root and iproute2")
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        hosts = "127.0.0.1 localhost\n" + "".join(f"{self.address(n)} node{n}\n" for n in range(count))
        for n in range(count):
            name = self.name(n)
            (HOSTS / name).mkdir(parents=True)
            (HOSTS / name / "hosts").write_text(hosts)
            ip("netns", "add", name)
            ip("-n", hub, "link", "add", f"port{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", hub, "link", "set", f"port{n}", "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"{self.address(n)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    @staticmethod
    def address(number: int) -> str:
        return f"10.77.0.{number + 1}"

    def start(self, number: int, command: Sequence[str], log: Path, **variables: str) -> subprocess.Popen:
        """A process on a node, its output in `log`."""
        inside = ["unshare", "--uts", "sh", "-c", f'hostname node{number}; exec "$@"', "sh", *command]
        with open(log, "w") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name(number), *inside], stdout=out, stderr=subprocess.STDOUT,
                env=os.environ | variables,
            )  # fmt: skip
        self.started.append(process)
        return process

    def kill(self, number: int) -> None:
        """The node loses power: every process in it is gone."""
        pids = subprocess.run(["ip", "netns", "pids", self.name(number)], capture_output=True, text=True).stdout
        for pid in map(int, pids.split()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def cut(self, number: int) -> None:
        """The node's cable is pulled: packets are lost, connections stay open."""
        ip("-n", f"{self.prefix}-hub", "link", "set", f"port{number}", "down")

    def mend(self, number: int) -> None:
        """The cable is back."""
        ip("-n", f"{self.prefix}-hub", "link", "set", f"port{number}", "up")

    def close(self) -> None:
        for n in range(self.count):
            self.kill(n)
        for process in self.started:
            process.wait(timeout=30)
        for name in (*map(self.name, range(self.count)), f"{self.prefix}-hub"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            if (HOSTS / name).is_dir():
                (HOSTS / name / "hosts").unlink(missing_ok=True)
                (HOSTS / name).rmdir()


def wait(processes: Sequence[subprocess.Popen], seconds: float) -> list[int]:
    """Their exit statuses; the test fails when they have not ended in time."""
    deadline = time.monotonic() + seconds
    statuses = []
    for process in processes:
        try:
            statuses.append(process.wait(max(0.1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s: {process.args[-8:]}")
    return statuses
