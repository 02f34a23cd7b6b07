"""Checks a job of several nodes before any model is loaded. Run on every node with the same flags.

    NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 python -m overlay.nodes.preflight \
        --data rows.jsonl --model MODEL --output /shared/run --processes 8 --batch 1 --generations 8

Nodes meet at the master's address and port, tell each other what they are, write into the output folder and look for
the others' files there, and time an all-reduce. Node 0 prints one table; every node prints each failure in one line and
ends with status 1. A node that comes back to a running job (torchrun's own store is at that port then) is compared with
what the job's nodes were when it started.
"""

import argparse
import json
import os
import secrets
import shutil
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from overlay.errors import Arguments, NodeFailed, NodesError, command
from overlay.nodes import checks
from overlay.nodes.facts import gather
from overlay.nodes.place import Place, place

MEGABYTES, TURNS = 64, 5
SEEN = 30.0  # seconds for a file to show on another node's mount
RECORD = "preflight.json"  # in the output folder: the nodes' facts


def meet(here: Place, seconds: float) -> dist.TCPStore:
    """The store of all nodes at the master's port. Raises NodeFailed when it cannot be opened or reached."""
    try:
        return dist.TCPStore(
            here.master, here.port, here.nodes, is_master=here.rank == 0, timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
        )  # fmt: skip
    except (dist.DistError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        if here.rank == 0:
            raise NodeFailed(
                f"port {here.port} cannot be opened on this node ({first}): choose another MASTER_PORT"
            ) from error
        raise NodeFailed(
            f"node {here.rank} cannot reach {here.master}:{here.port} within {seconds:.0f} s: is node 0 started, is "
            "the port open, is MASTER_ADDR an address that this node can route to?"
        ) from error


def collect(store: dist.Store, here: Place, topic: str, value: object) -> list:
    """Every node's value for `topic`, by node. Raises NodeFailed when some do not come."""
    store.set(f"{topic}/{here.rank}", json.dumps(value))
    values = []
    for number in range(here.nodes):
        try:
            values.append(json.loads(store.get(f"{topic}/{number}")))
        except (dist.DistError, RuntimeError) as error:
            raise NodeFailed(
                f"node {number} has not come ({topic}): is it started with the same NNODES={here.nodes}, and does it "
                f"reach {here.master}:{here.port}?"
            ) from error
    return values


def shared(store: dist.Store, here: Place, output: Path, seconds: float) -> list[str]:
    """Each node writes into the output folder and looks for the others' files: what this node found wrong."""
    token = collect(store, here, "token", secrets.token_hex(4))[0]
    folder, failure = output / f".preflight-{token}", None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(here.rank)).write_text("seen")
    except OSError as error:
        failure = f"node {here.rank}: {output} cannot be written ({error.strerror}): mount it, or set OUTPUT"
    wrote = collect(store, here, "written", failure is None)
    missing = [str(number) for number, done in enumerate(wrote) if done and failure is None]
    deadline = time.monotonic() + min(SEEN, seconds)
    while missing and time.monotonic() < deadline:
        missing = [name for name in missing if not (folder / name).exists()]
        time.sleep(0.2)
    if missing:
        failure = f"node {here.rank}: {output} does not show what node {', '.join(missing)} wrote: it must be shared"
    found = collect(store, here, "shared", failure)
    with suppress(OSError):
        shutil.rmtree(folder)
    return [line for line in found if line]


def bandwidth(store: dist.Store, here: Place) -> float:
    """GB/s of an all-reduce of one process for each node (bus bandwidth, as NCCL's tests count it)."""
    if here.nodes == 1:
        return float("nan")
    gpu = torch.cuda.is_available()
    options = {"backend": "nccl" if gpu else "gloo", "rank": here.rank, "world_size": here.nodes}
    try:
        dist.init_process_group(store=dist.PrefixStore("reduce", store), timeout=timedelta(seconds=60), **options)
        values = torch.ones(MEGABYTES * 2**18, device="cuda:0" if gpu else "cpu")
        dist.all_reduce(values)
        if gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(TURNS):
            dist.all_reduce(values)
        if gpu:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / TURNS
        dist.destroy_process_group()
    except (dist.DistError, RuntimeError) as error:
        raise NodeFailed(
            f"node {here.rank}: an all-reduce failed ({str(error).splitlines()[0]}): set NCCL_SOCKET_IFNAME (gloo: "
            "GLOO_SOCKET_IFNAME) to the interface between the nodes"
        ) from error
    return 2 * (here.nodes - 1) / here.nodes * values.numel() * 4 / seconds / 1e9


def table(facts: list[dict[str, str]], speed: list[float], times: list[float]) -> Table:
    """Facts by row, nodes by column; values that differ from node 0's are marked."""
    view = Table(title="preflight")
    for column in ("", *(f"node {number}" for number in range(len(facts)))):
        view.add_column(column)
    for name, first in facts[0].items():
        same = name == "host" or name not in checks.ADVICE
        view.add_row(name, *(v if same or v == first else f"[red]{v} (!)[/red]" for v in (n[name] for n in facts)))
    view.add_row("clock, s", *(f"{value - times[0]:+.2f}" for value in times))
    view.add_row("all-reduce, GB/s", *(f"{value:.2f}" for value in speed))
    return view


def rejoin(own: dict[str, str], here: Place, output: Path) -> list[str]:
    """What keeps this node out of the running job, whose nodes' facts are in the output folder."""
    path, cure = output / RECORD, "mount the job's output folder, or set PREFLIGHT=0 where the job was started so"
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return [f"node {here.rank}: the job is running, but {path} cannot be read ({error}): {cure}"]
    if len(facts) != here.nodes:
        return [f"node {here.rank}: NNODES={here.nodes}, but {path} is of a job of {len(facts)} nodes: {cure}"]
    facts[here.rank] = own
    return checks.differing(facts) + checks.devices(facts)


def run(here: Place, args: argparse.Namespace) -> list[str]:
    """All checks; returns the failures, which are the same on every node. NodeFailed where nodes did not meet."""
    numbers = args.processes, args.batch, args.generations
    try:
        own = {"facts": gather(args.data, args.model, *numbers), "failure": None}
    except OSError as error:
        own = {"facts": None, "failure": f"node {here.rank}: {error.filename}: {error.strerror}"}
    store = meet(here, args.timeout)
    if here.rank and store.check([f"torch.rendezvous.{args.rdzv_id}"]):
        print(f"node {here.rank}: the job is running, this node comes back to it")
        return [own["failure"]] if own["failure"] else rejoin(own["facts"], here, args.output)
    answers = collect(store, here, "facts", own)
    failures = [answer["failure"] for answer in answers if answer["failure"]]
    if not failures:
        facts = [answer["facts"] for answer in answers]
        collect(store, here, "ready", True)
        times = collect(store, here, "clock", time.time())
        failures = checks.divisible(here.nodes, *numbers, args.accumulation)
        failures += checks.differing(facts) + checks.devices(facts)
        failures += checks.clocks(times, [node["host"] for node in facts])
        failures += shared(store, here, args.output, args.timeout)
        speed = collect(store, here, "speed", bandwidth(store, here))
        if here.rank == 0:
            Console(width=max(80, 34 + 22 * here.nodes)).print(table(facts, speed, times))
            if not failures:
                (args.output / RECORD).write_text(json.dumps(facts, indent=1))
    collect(store, here, "end", True)
    if here.rank == 0:
        time.sleep(1)  # the others read the last values from this process
    return failures


@command("preflight")
def main(argv: list[str] | None = None) -> int:
    """Status 0 when all is well, 1 with a line for each failure."""
    parser = Arguments(description="Check all nodes of a job before it starts.")
    parser.add_argument("--data", required=True, help="data files, separated by ':'")
    parser.add_argument("--model", required=True, help="model folder or hub name")
    parser.add_argument("--output", required=True, type=Path, help="shared output folder")
    parser.add_argument("--processes", required=True, type=int, help="processes on each node")
    parser.add_argument("--batch", required=True, type=int)
    parser.add_argument("--generations", required=True, type=int, help="0: no groups")
    parser.add_argument("--accumulation", default=1, type=int, help="batches of a step that groups may lie in")
    parser.add_argument("--rdzv_id", default="gui", help="torchrun's name of the job, to know one that is running")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for all nodes to come")
    args = parser.parse_args(argv)
    try:
        failures = run(place(os.environ), args)
    except (NodeFailed, NodesError) as error:
        failures = [str(error)]
    for line in failures:
        print(f"preflight: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
