"""A process that has imported the trainers' libraries once, and forks the processes of a test's runs from there.

    python -m tests.forkserver FD       FD: an inherited Unix socket that listens; started by tests.ranks

A fresh interpreter imports for six CPU seconds before a trainer's first line. A fork has that behind it, and is else
what `python SCRIPT` or `python -m MODULE` under torchrun is: a process of its own, with the launcher's variables, its
own working folder, arguments, standard streams and exit status. Nothing of this project is imported before the fork,
and no thread runs then (a fork would lose it). What it shares with its siblings, and torchrun's do not: the hash seed.

A request is one line of JSON, {"command", "ranks", "environment", "folder", "log"}; the answers are a line with the
process ids and, when all have ended, one with their statuses (negative: a signal). As under torchrun, the first that
fails ends the others. A client that hangs up ends them all.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "torch", "transformers", "datasets", "peft", "accelerate", "trl", "trl.trainer.grpo_trainer", "deepspeed", "openai",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl", "transformers.models.qwen2_5_vl.processing_qwen2_5_vl",
)  # fmt: skip
PATIENCE = 10.0  # seconds between asking a rank to end and killing it


def serve(listener: socket.socket) -> None:
    """Fork a launcher for each connection, until standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # launchers are nobody's to wait for
    while True:
        ready, *_ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        threads = os.listdir("/proc/self/task")
        if len(threads) > 1:
            raise RuntimeError(f"{len(threads)} threads before a fork: which library started one?")
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            end(launch, connection)
        connection.close()


def launch(connection: socket.socket) -> None:
    """Fork the ranks of one request and watch them."""
    request = json.loads(connection.makefile().readline())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = []
    for rank in range(request["ranks"] or 1):
        pid = os.fork()
        if pid == 0:
            connection.close()
            end(run, request, rank, port)
        pids.append(pid)
    connection.sendall(json.dumps(pids).encode() + b"\n")
    connection.sendall(json.dumps(watch(connection, pids)).encode() + b"\n")


def watch(connection: socket.socket, pids: list[int]) -> list[int]:
    """Wait for all ranks; ends the others when one fails, and all when the client hangs up."""
    running, statuses, kill_at = {os.pidfd_open(pid): pid for pid in pids}, {}, None
    while running:
        left = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, *_ = select.select([*running, *([connection] if kill_at is None else [])], [], [], left)
        for handle in set(ready) & set(running):
            pid = running.pop(handle)
            os.close(handle)
            statuses[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if kill_at is None and (connection in ready or any(statuses.values())):
            kill_at = time.monotonic() + PATIENCE
            signal_all(running.values(), signal.SIGTERM)
        elif kill_at is not None and time.monotonic() >= kill_at:
            kill_at += PATIENCE
            signal_all(running.values(), signal.SIGKILL)
    return [statuses[pid] for pid in pids]


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def end(function: Callable[..., None], *arguments: Any) -> NoReturn:
    """Call a function and end this process as the interpreter ends, without clearing its thousands of modules: that
    takes seconds in a fork, which has to copy each page first."""
    status = 0
    try:
        function(*arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if status and status is not stop.code:
            print(stop.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  what ended a program is printed, as the interpreter does
        status = 1
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(request: dict, rank: int, port: int) -> None:
    """Become one rank: what `python` does with a command line, after the imports."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["ranks"]:
        os.environ.update({
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(request["ranks"]),
            "LOCAL_WORLD_SIZE": str(request["ranks"]), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        })  # fmt: skip
    os.chdir(request["folder"])
    for number, name in ((0, os.devnull), (1, f"{request['log']}.{rank}.out"), (2, f"{request['log']}.{rank}.err")):
        target = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, number)
        os.close(target)
    first, *rest = request["command"]
    module = first == "-m"
    sys.argv = rest if module else [first, *rest]
    paths = os.environ.get("PYTHONPATH", "").split(":")
    sys.path[:1] = [os.getcwd() if module else str(Path(first).resolve().parent), *paths]
    for path in paths:
        if (customize := Path(path, "sitecustomize.py")).is_file():
            runpy.run_path(str(customize))  # `site` does so at an interpreter's start
    if module:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # what is there stays, and need not be copied for a collection
    end(serve, socket.socket(fileno=int(sys.argv[1])))
