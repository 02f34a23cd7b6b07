"""A node's place from the variables of each platform, as their documentation has them."""

import os
import subprocess
import sys

import pytest

from overlay.errors import NodesError
from overlay.nodes.place import place

MASTER = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        # Our own names, and spec's plain RANK.
        ({"NNODES": "2", "NODE_RANK": "1", **MASTER}, (2, 1, "10.0.0.1", 23456)),
        ({"NNODES": "5", "RANK": "4", **MASTER}, (5, 4, "10.0.0.1", 23456)),
        # Ours win over the platform's.
        ({"NNODES": "2", "NODE_RANK": "1", "WORLD_SIZE": "16", "RANK": "9", **MASTER}, (2, 1, "10.0.0.1", 23456)),
        # Volcano, PAI-DLC, Kubeflow's PyTorchJob with one process a pod: nodes are counted.
        ({"WORLD_SIZE": "5", "RANK": "3", **MASTER}, (5, 3, "10.0.0.1", 23456)),
        # Kubeflow with nprocPerNode: WORLD_SIZE counts processes (2 x 8), PET_* say what is meant.
        (
            {"PET_NNODES": "2", "PET_NODE_RANK": "1", "WORLD_SIZE": "16", "RANK": "8", **MASTER},
            (2, 1, "10.0.0.1", 23456),
        ),
        ({"PET_NNODES": "2:4", "PET_NODE_RANK": "1", "PET_RDZV_ENDPOINT": "job-0:29400"}, (2, 1, "job-0", 29400)),
        (
            {"PET_NNODES": "2", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "job-0", "PET_MASTER_PORT": "29400"},
            (2, 0, "job-0", 29400),
        ),
        # Slurm: the master is the job's first host.
        ({"SLURM_NNODES": "3", "SLURM_NODEID": "2", "SLURM_JOB_NODELIST": "gpu[01-03]"}, (3, 2, "gpu01", 29500)),
        ({"NNODES": "1", "NODE_RANK": "0"}, (1, 0, "127.0.0.1", 29500)),
    ],
)  # fmt: skip
def test_platforms(variables, expected):
    found = place(variables, lambda compressed: [compressed.replace("[01-03]", f"0{n}") for n in (1, 2, 3)])
    assert (found.nodes, found.rank, found.master, found.port) == expected
    assert found.source


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "how many nodes"),
        ({"NNODES": "2", "NODE_RANK": "0"}, "not MASTER_ADDR"),
        ({"NNODES": "2", **MASTER}, "rank None"),
        ({"NNODES": "two", "NODE_RANK": "0", **MASTER}, "not all numbers"),
        # WORLD_SIZE that counts processes while RANK counts them too, without PET_*.
        ({"WORLD_SIZE": "2", "RANK": "2", **MASTER}, "rank 2 of 2 nodes. Where WORLD_SIZE or RANK count processes"),
    ],
)
def test_what_cannot_be_told_is_said(variables, message):
    with pytest.raises(NodesError, match=message):
        place(variables)


def test_slurm_is_asked_for_its_hosts(tmp_path):
    """`scontrol` of a Slurm installation, here a stand-in that answers as it does."""
    (tmp_path / "scontrol").write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames gpu[01-02]" ] && printf "gpu01\\ngpu02\\n"\n'
    )
    (tmp_path / "scontrol").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NNODES")}
    done = subprocess.run(
        [sys.executable, "-m", "overlay.nodes.place"], capture_output=True, text=True,
        env=clean | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NNODES": "2", "SLURM_NODEID": "1",
            "SLURM_JOB_NODELIST": "gpu[01-02]",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "export MASTER_ADDR=gpu01\nexport MASTER_PORT=29500" in done.stdout
    assert "node 1 of 2, master gpu01:29500 (from SLURM_NNODES, SLURM_NODEID)" in done.stderr
