"""What a user applies on a cluster: parsed, checked against what the launcher reads, and run as far as it goes here."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from overlay.errors import Refused
from overlay.patching.export import export
from tests.stock import ROOT

SCRIPTS = ROOT / "run_scripts"
READ = set(re.findall(r"\$\{?([A-Z_]+)", "".join(path.read_text() for path in SCRIPTS.glob("*.sh")))) | {
    "NNODES", "NODE_RANK", "RANK", "MASTER_ADDR", "MASTER_PORT", "NCCL_SOCKET_IFNAME", "STOPPED_STATUS",
}  # fmt: skip
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def clean():
    dropped = ("RANK", "WORLD_SIZE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"PATH": PATH}


def test_pytorchjob():
    job = yaml.safe_load((SCRIPTS / "pytorchjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert set(replicas) == {"Master", "Worker"}
    assert replicas["Master"]["replicas"] == 1
    for spec in replicas.values():
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == "pytorch"  # the operator looks for this name
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        assert set(variables) <= READ
        assert all(isinstance(value, str) for value in variables.values())  # Kubernetes takes nothing else
        assert int(variables["NNODES"]) == sum(each["replicas"] for each in replicas.values())
        assert container["resources"]["limits"]["nvidia.com/gpu"] == int(variables["NPROC_PER_NODE"])
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]


def test_compose():
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["train"]
    assert set(service["environment"]) <= READ
    assert (service["network_mode"], service["ipc"]) == ("host", "host")
    mounted = [volume.rsplit("}:", 1)[1].split(":")[0] for volume in service["volumes"]]
    for name in ("MODEL", "DATA", "IMAGES", "OUTPUT"):
        assert any(service["environment"][name].startswith(folder) for folder in mounted)


@pytest.fixture
def sbatch(tmp_path):
    """Function: slurm.sbatch with a stand-in srun, which runs the command as Slurm does: once a node, with
    SLURM_NODEID; `first` is run instead in the first `failing` starts."""

    def run(failing, first, **variables):
        (tmp_path / "srun").write_text(
            f"#!/bin/bash\necho >>{tmp_path}/starts\n"
            f"[[ $(wc -l <{tmp_path}/starts) -gt {failing} ]] || {{ {first}; }}\n"
            "while [[ $1 == --* ]]; do shift; done\n"
            'for id in 0 1; do SLURM_NNODES=2 SLURM_NODEID=$id SLURM_JOB_NODELIST="gpu[1-2]" "$@" || exit 137; done\n'
        )
        (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'gpu1\\ngpu2\\n'\n")
        (tmp_path / "make").write_text("#!/bin/sh\n")  # without building an environment
        for name in ("srun", "scontrol", "make"):
            (tmp_path / name).chmod(0o755)
        return subprocess.run(
            ["bash", str(SCRIPTS / "slurm.sbatch")], capture_output=True, text=True, cwd=tmp_path,
            env=clean() | {"PATH": f"{tmp_path}:{PATH}", "BACKEND": "trl", "OUTPUT": str(tmp_path / "run")} | variables,
        )  # fmt: skip

    (tmp_path / "run").mkdir()
    (tmp_path / "run_scripts").symlink_to(SCRIPTS)
    return run


@pytest.mark.parametrize(("failing", "status"), [(0, 0), (2, 0), (3, 1)])
def test_sbatch_starts_one_launcher_on_each_node(failing, status, sbatch):
    """The first starts fail, as torchrun does."""
    done = sbatch(failing, "exit 1", DRY_RUN="1")
    assert done.returncode == status, done.stderr
    assert done.stderr.count("of 3 failed") == failing
    if status:
        return
    lines = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith("torchrun")]
    assert [line[line.index("--node_rank") + 1] for line in lines] == ["0", "1"]
    assert all(line[line.index("--master_addr") + 1] == "gpu1" for line in lines)
    assert all(line[line.index("--nnodes") + 1] == "2" for line in lines)


def test_sbatch_does_not_repeat_an_end_on_purpose(sbatch, tmp_path):
    """One node says so, in whatever status Slurm makes of the node that it killed for that."""
    stop = f'echo \'{{"reason": "the loss is nan"}}\' >{tmp_path}/run/stopped.json; exit 137'
    done = sbatch(3, stop)
    assert (done.returncode, (tmp_path / "starts").read_text()) == (4, "\n")
    assert "stopped on purpose" in done.stderr
    assert "the loss is nan" in done.stderr
    (tmp_path / "run" / "stopped.json").unlink()
    (tmp_path / "starts").unlink()
    done = sbatch(0, ":", GENERATIONS="7", BATCH="1")
    assert (done.returncode, (tmp_path / "starts").read_text()) == (2, "\n"), done.stderr
    assert "slurm.sbatch: refused: 2 run_grpo_gui.sh: nodes x processes x batch" in done.stderr


def test_what_a_platform_hears():
    """PyTorchJob restarts a pod that ends with 128 or more, compose one that ends with anything but 0."""
    job = yaml.safe_load((SCRIPTS / "pytorchjob.yaml").read_text())["spec"]["pytorchReplicaSpecs"]
    for spec in job.values():
        variables = {entry["name"]: entry["value"] for entry in spec["template"]["spec"]["containers"][0]["env"]}
        assert (spec["restartPolicy"], int(variables["FAILED_STATUS"]) >= 128) == ("ExitCode", True)
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["train"]
    assert compose["restart"].startswith("on-failure")
    for settings, statuses in ((compose["environment"], (0, 0)), ({"FAILED_STATUS": "138"}, (2, 1))):
        place = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "PREFLIGHT_TIMEOUT": "1"}
        own = {name: str(value) for name, value in settings.items() if name.endswith("_STATUS")}
        for changed, status in (({"GENERATIONS": "7", "BATCH": "1"}, statuses[0]), ({"NNODES": "x"}, statuses[0])):
            done = subprocess.run(
                ["bash", str(SCRIPTS / "run_grpo_gui_multinode.sh")], capture_output=True, text=True,
                env=clean() | {"DRY_RUN": "1", "BACKEND": "trl"} | place | own | changed,
            )  # fmt: skip
            assert done.returncode == status, done.stderr


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "how many nodes"),
        ({"GENERATIONS": "7", "BATCH": "1", "NPROC_PER_NODE": "8"}, "= 16 is not divisible by GENERATIONS=7"),
        ({"MAX_RESTARTS": "2"}, "static nodes do not restart together; RDZV=c10d does"),
        ({"RDZV": "etcd"}, "RDZV=etcd is neither static nor c10d"),
    ],
)
def test_the_launcher_refuses_in_one_line(variables, message):
    place = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "10.0.0.1"} if variables else {}
    done = subprocess.run(
        ["bash", str(SCRIPTS / "run_grpo_gui_multinode.sh")], capture_output=True, text=True,
        env=clean() | {"DRY_RUN": "1", "BACKEND": "trl", "METHOD": "gui_action"} | place | variables,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(message, done.stderr.splitlines()[-1])


def test_c10d_restarts_all_nodes():
    done = subprocess.run(
        ["bash", str(SCRIPTS / "run_grpo_gui_multinode.sh")], capture_output=True, text=True,
        env=clean() | {
            "DRY_RUN": "1", "BACKEND": "trl", "METHOD": "gui_action", "NNODES": "5", "RANK": "3", "WORLD_SIZE": "40",
            "MASTER_ADDR": "10.0.0.1", "RDZV": "c10d", "MAX_RESTARTS": "3",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "--rdzv_backend c10d --rdzv_endpoint 10.0.0.1:29500" in line
    assert "--max_restarts 3" in line
    assert "is_host=0" in line


def test_a_container_gets_the_hosts_paths_and_no_key_on_its_command_line(tmp_path):
    for name in ("model", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "rows.jsonl").write_text("")
    done = subprocess.run(
        ["bash", str(ROOT / "docker" / "run.sh"), "grpo-gui", "make", "train"], capture_output=True, text=True,
        env=clean() | {
            "DRY_RUN": "1", "MODEL": str(tmp_path / "model"), "DATA": str(tmp_path / "rows.jsonl"),
            "IMAGES": str(tmp_path / "images"), "OUTPUT": str(tmp_path / "out"), "OPENAI_API_KEY": "sk-secret",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stderr)
    assert words[-3:] == ["grpo-gui", "make", "train"]
    assert f"{tmp_path}/model:{tmp_path}/model:ro" in words
    assert f"{tmp_path}/out:{tmp_path}/out" in words
    assert f"MODEL={tmp_path}/model" in words
    assert "OPENAI_API_KEY" in words
    assert "sk-secret" not in done.stderr


@pytest.mark.integration
def test_the_build_context_is_the_commit_with_the_patched_submodule(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    (clone / ".env").write_text("OPENAI_API_KEY=secret")
    try:
        export(tmp_path / "context", clone)
    except Refused as refused:
        pytest.skip(f"NEEDS VLM-R1: {refused}")
    context = tmp_path / "context"
    assert not (context / ".env").exists()
    assert not (context / ".git").exists()
    status = [sys.executable, "-m", "overlay.patching", "status"]
    done = subprocess.run(status, cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "VLM-R1: applied" in done.stdout
    first = min((context / "patches").glob("*.patch"))
    first.write_text(first.read_text() + "\n")
    assert subprocess.run(status, cwd=context, capture_output=True).returncode == 1
    (clone / "Makefile").write_text("changed")
    with pytest.raises(Refused, match=r"commit first.*Makefile"):
        export(tmp_path / "second", clone)
