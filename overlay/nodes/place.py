"""This node's place in a job of several, from the variables of the platform that started it.

    python -m overlay.nodes.place          prints shell assignments, and says on stderr where each came from

Asked in this order, each by its own documented variables: our own (NNODES, NODE_RANK), torchrun's own PET_* (Kubeflow
Trainer sets them, and there WORLD_SIZE counts processes, not nodes), Slurm, then WORLD_SIZE and RANK as Volcano,
PAI-DLC and Kubeflow's older PyTorchJob set them (nodes there, for they start one container for each). Standard library
only: it runs before anything is loaded.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from overlay.errors import Arguments, NodesError, command

PORT = 29500


@dataclass(frozen=True)
class Place:
    """nodes in the job, this node's number from 0, and where node 0 listens."""

    nodes: int
    rank: int
    master: str
    port: int
    source: str


def slurm_hosts(compressed: str) -> list[str]:
    """Host names of a Slurm node list such as `gpu[01-03,7]`, as `scontrol` says."""
    done = subprocess.run(["scontrol", "show", "hostnames", compressed], capture_output=True, text=True)
    if done.returncode:
        raise NodesError(f"scontrol show hostnames {compressed}: {done.stderr.strip() or 'failed'}")
    return done.stdout.split()


def place(variables: Mapping[str, str], hosts: Callable[[str], list[str]] = slurm_hosts) -> Place:
    """This node's place. Raises NodesError when variables are missing or contradict each other."""
    if variables.get("NNODES"):
        source = "NNODES, NODE_RANK" if variables.get("NODE_RANK") else "NNODES, RANK"
        nodes, rank = variables["NNODES"], variables.get("NODE_RANK") or variables.get("RANK")
        if rank is None and variables.get("SLURM_NODEID"):
            source, rank = "NNODES, SLURM_NODEID", variables["SLURM_NODEID"]
    elif variables.get("PET_NNODES"):
        source = "PET_NNODES, PET_NODE_RANK (Kubeflow Trainer)"
        nodes, rank = variables["PET_NNODES"].split(":")[0], variables.get("PET_NODE_RANK") or variables.get("RANK")
    elif variables.get("SLURM_NNODES"):
        source = "SLURM_NNODES, SLURM_NODEID"
        nodes, rank = variables["SLURM_NNODES"], variables.get("SLURM_NODEID")
    elif variables.get("WORLD_SIZE") and variables.get("RANK"):
        source = "WORLD_SIZE, RANK (Volcano, PyTorchJob)"
        nodes, rank = variables["WORLD_SIZE"], variables["RANK"]
    else:
        raise NodesError(
            "how many nodes? Set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT (Slurm, Kubeflow, Volcano and PET_* "
            "set their own)"
        )
    master = variables.get("MASTER_ADDR") or variables.get("PET_MASTER_ADDR")
    port = variables.get("MASTER_PORT") or variables.get("PET_MASTER_PORT") or str(PORT)
    if not master and variables.get("PET_RDZV_ENDPOINT"):
        master, _, port = variables["PET_RDZV_ENDPOINT"].partition(":")
    if not master and variables.get("SLURM_JOB_NODELIST"):
        master = hosts(variables["SLURM_JOB_NODELIST"])[0]
    if not master and nodes == "1":
        master = "127.0.0.1"
    if not master:
        raise NodesError(f"{source} are set, but not MASTER_ADDR: the address of node 0")
    try:
        found = Place(int(nodes), int(rank or ""), master, int(port or PORT), source)
    except ValueError:
        raise NodesError(f"{source}: {nodes!r} nodes, rank {rank!r}, port {port!r} are not all numbers") from None
    if not 0 <= found.rank < found.nodes:
        raise NodesError(
            f"{source}: rank {found.rank} of {found.nodes} nodes. Where WORLD_SIZE or RANK count processes, set NNODES "
            "and NODE_RANK"
        )
    return found


@command("overlay.nodes.place")
def main(argv: list[str] | None = None) -> int:
    """Shell assignments on stdout; status 2 and one line when the place cannot be told."""
    Arguments(description=str(__doc__).splitlines()[0]).parse_args(argv)
    found = place(os.environ)
    print(
        f"node {found.rank} of {found.nodes}, master {found.master}:{found.port} (from {found.source})", file=sys.stderr
    )
    values = {"NNODES": found.nodes, "NODE_RANK": found.rank, "MASTER_ADDR": found.master, "MASTER_PORT": found.port}
    print("\n".join(f"export {name}={shlex.quote(str(value))}" for name, value in values.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
