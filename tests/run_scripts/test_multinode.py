"""`make train-multinode` on two and five nodes: network namespaces, real torchrun, ZeRO-3 over gloo, a tiny model."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from overlay.training.checkpoints import last_checkpoint
from tests.namespaces import Nodes, wait
from tests.stock import ROOT, TASKS

pytestmark = [pytest.mark.integration, pytest.mark.slow]
VENV = Path(sys.executable).parents[1]
TRAIN = ["train-multinode"]
UPSTREAM = "VLM-R1/src/open-r1-multimodal/src"
DTYPE = {"trl": "dtype", "vlm-r1": "torch_dtype"}
FLAGS = {
    "bf16": "false", "attn_implementation": "sdpa", "max_pixels": 84 * 112, "min_pixels": 784,
    "max_completion_length": 4, "max_steps": 4, "save_steps": 1, "learning_rate": 1e-3, "warmup_steps": 0,
    "gradient_checkpointing": "false", "report_to": "tensorboard",
}  # fmt: skip
# A run that is disturbed: steps enough for a new checkpoint between all faults, and a timeout that is longer than nodes
# wait for each other on a busy machine.
STEPS = 12
LONG = {"flags": {"max_steps": STEPS, "dtype": "float32", "ddp_timeout": 30}}


@pytest.fixture
def nodes():
    """Function (count) → nodes, taken away at the end."""
    made = []

    def build(count):
        made.append(Nodes(count))
        return made[-1]

    yield build
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def settings(tiny_model_dir, demo_rows, reward_model):
    """Function: variables of a run that writes to the folder `output`, and make's command for it."""

    def make(output, world, root=ROOT, **changed):
        # A reward model ranks what an untrained model says.
        flags = FLAGS | {"reward_funcs": reward_model} | changed.pop("flags", {})
        line = " ".join(f"--{flag} {value}" for flag, value in flags.items())
        variables = {
            "MODEL": str(tiny_model_dir), "DATA": str(demo_rows), "IMAGES": str(TASKS / "train"), "BACKEND": "trl",
            "OUTPUT": str(output), "METHOD": "gui_action", "MAX_PROMPT_LENGTH": "2000", "NPROC_PER_NODE": "1",
            "BATCH": "2", "GENERATIONS": str(2 * world), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
            "PREFLIGHT_TIMEOUT": "120", "ARROW_CACHE_DIR": str(output.parent / "arrow"), "MASTER_PORT": "29555",
            "PYTHONPATH": f"{ROOT}/tests/gloo", "NCCL_DEBUG": "WARN",
        } | changed  # fmt: skip
        return variables, ["make", "-C", str(root), "-o", f"{VENV}/.ready", f"VENV={VENV}", f"ARGS={line}"]

    return make


def start(nodes, number, variables, command, again=""):
    """The command on one node, as a scheduler starts it: RANK, NNODES, MASTER_ADDR, MASTER_PORT."""
    return nodes.start(
        number, [*command, *TRAIN], Path(f"{variables['OUTPUT']}-node{number}{again}.log"), **variables,
        RANK=str(number), NNODES=str(nodes.count), MASTER_ADDR=nodes.address(0), NODE_ADDR=nodes.address(number),
        GLOO_SOCKET_IFNAME="eth0",
    )  # fmt: skip


def launch(nodes, variables, command):
    """The same command on every node."""
    return [start(nodes, number, variables, command) for number in range(nodes.count)]


def logs(output, since=None):
    """What the nodes of a run have printed; `since`: sizes of the files, of which the rest counts."""
    files = sorted(output.parent.glob(f"{output.name}-node*.log"))
    return "".join(path.read_bytes()[(since or {}).get(path, 0) :].decode(errors="replace") for path in files)


def sizes(output):
    return {path: path.stat().st_size for path in output.parent.glob(f"{output.name}-node*.log")}


def alone(forks, variables, command, processes):
    """The same global batch on one node: the trainer's command line as the launcher makes it, forked."""
    own = variables | {"NNODES": "1", "NODE_RANK": "0", "NPROC_PER_NODE": str(processes), "PREFLIGHT": "0"}
    shown = subprocess.run(
        [*command, *TRAIN], capture_output=True, text=True, env=os.environ | own | {"DRY_RUN": "1"}
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr[-4000:]
    words = shlex.split(shown.stderr.splitlines()[-1])
    first = next(n for n, word in enumerate(words) if word == "-m" or word.endswith("grpo_jsonl.py"))
    root = Path(command[command.index("-C") + 1])
    paths = [variables["PYTHONPATH"], *([str(root / UPSTREAM)] if words[first] != "-m" else []), str(root)]
    done = forks.run(
        words[first:], Path(f"{variables['OUTPUT']}.log"), processes, variables=own | {"PYTHONPATH": ":".join(paths)},
        folder=root,
    )  # fmt: skip
    assert done.statuses == [0] * processes, done.err[-4000:]


def losses(output):
    state = json.loads((Path(last_checkpoint(str(output))) / "trainer_state.json").read_text())
    return [(entry["step"], entry["loss"], entry["grad_norm"]) for entry in state["log_history"] if "loss" in entry]


def assert_same(first, second, steps=4):
    one, two = losses(first), losses(second)
    assert [step for step, *_ in one] == [step for step, *_ in two] == list(range(1, steps + 1))
    assert any(norm for *_, norm in one)
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, abs=1e-4)


@pytest.fixture
def patched_clone(tmp_path):
    """A clone of the project with this work tree's files and the patches on its VLM-R1/."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for name in ("overlay", "run_scripts", "patches", "Makefile"):
        copy = shutil.copy2 if (ROOT / name).is_file() else partial(shutil.copytree, dirs_exist_ok=True)
        copy(ROOT / name, clone / name)
    done = subprocess.run(
        [sys.executable, "-m", "overlay.patching", "apply"], cwd=clone, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"NEEDS VLM-R1: {done.stderr.strip()}")
    return clone


@pytest.mark.parametrize(
    ("count", "backend"),
    # Five nodes are two at a larger scale; two nodes with TRL are what the long restarts below run on.
    [(2, "vlm-r1"), pytest.param(5, "trl", marks=pytest.mark.long)],
)
def test_nodes_train_as_one_node_does(count, backend, nodes, forks, settings, tmp_path, request):
    root = request.getfixturevalue("patched_clone") if backend == "vlm-r1" else ROOT
    flags = {"flags": {"max_steps": 2, DTYPE[backend]: "float32"}, "BACKEND": backend, "root": root}
    many, one = tmp_path / "many", tmp_path / "one"
    assert wait(launch(nodes(count), *settings(many, count, **flags)), 400) == [0] * count, logs(many)[-5000:]
    alone(forks, *settings(one, count, **flags), count)
    assert_same(many, one, 2)
    shown = logs(many)
    assert f"node 1 of {count}, master 10.77.0.1:29555 (from NNODES, RANK)" in shown
    assert "all-reduce, GB/s" in shown
    # Logs of every rank by node, TensorBoard from rank 0 only.
    folder = many / "logs"
    assert sorted(path.name for path in folder.glob("node*")) == [f"node{n}" for n in range(count)]
    assert all(list((folder / f"node{n}").rglob("stderr.log")) for n in range(count))
    assert len(list((folder / "tensorboard").rglob("events.out.tfevents.*"))) == 1


@pytest.fixture(scope="module")
def whole(forks, settings, tmp_path_factory):
    """Output folder of a run on two ranks of one node that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole") / "run"
    alone(forks, *settings(output, 2, **LONG), 2)
    return output


def until(true, seconds=240):
    """Wait for what must come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def newest(output):
    """Step of the newest checkpoint, 0 without one."""
    return max((int(path.name.split("-")[1]) for path in output.glob("checkpoint-*")), default=0)


def until_step(processes, output, step):
    """Wait until the run has saved a checkpoint beyond `step`."""
    until(lambda: newest(output) > step or any(process.poll() is not None for process in processes))
    assert newest(output) > step, logs(output)[-5000:]


@pytest.mark.long
def test_a_node_that_is_lost_ends_the_run_which_then_resumes(nodes, settings, whole, tmp_path):
    """Static nodes: one loses its power, all are started again; then its cable is pulled, and they are once more."""
    lost = tmp_path / "lost"
    variables, command = settings(lost, 2, **LONG)
    pair = nodes(2)
    processes = launch(pair, variables, command)
    until_step(processes, lost, 1)
    pair.kill(1)  # noticed at once
    assert all(status != 0 for status in wait(processes[:1], 150))
    pair.close()

    # A node that comes back: the same command on both.
    pair, step = nodes(2), newest(lost)
    processes = launch(pair, variables, command)
    until_step(processes, lost, step)
    pair.cut(1)  # noticed after nine tenths of --ddp_timeout
    assert all(status != 0 for status in wait(processes, 150))
    assert "resuming from" in logs(lost)
    assert "no progress for" in logs(lost), logs(lost)[-4000:]
    pair.close()

    assert wait(launch(nodes(2), variables, command), 300) == [0, 0], logs(lost)[-5000:]
    assert "resuming from" in logs(lost)
    assert_same(lost, whole, STEPS)


def workers(pair, number):
    """Process ids of training on a node: torchrun's children have LOCAL_RANK."""
    pids = subprocess.run(["ip", "netns", "pids", pair.name(number)], capture_output=True, text=True, check=True)
    found = set()
    for pid in pids.stdout.split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if b"LOCAL_RANK=" in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(int(pid))
    return found


def signal_all(pids, what):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def kill_worker_and_hold_the_next(pair, gate):
    """The worker of node 0 dies, and the one that follows comes late: the other node's is first where they meet, and
    must not find the dead ones' addresses there (gloo's side with the lower address is called by the other)."""
    (gate / "0.held").touch()
    (gate / "1.came").unlink()
    signal_all(workers(pair, 0), signal.SIGKILL)
    until((gate / "1.came").exists)
    time.sleep(3)  # it looks for the others' addresses
    (gate / "0.held").unlink()


@pytest.mark.long
def test_all_nodes_restart_in_place(nodes, settings, whole, tmp_path):
    """RDZV=c10d: torchrun starts the workers of all nodes again, and a node that comes back joins the running job. One
    job suffers every fault in turn, and has restarts to spare for a busy machine."""
    again, gate = tmp_path / "again", tmp_path / "gate"
    gate.mkdir()
    faults = ("dead worker", "hanging worker", "cut node", "lost node")
    variables, command = settings(again, 2, RDZV="c10d", MAX_RESTARTS=str(2 * len(faults)), GATE=str(gate), **LONG)
    pair, step = nodes(2), 0
    processes = launch(pair, variables, command)
    for fault in faults:
        until_step(processes, again, step)
        since = sizes(again)
        shown = partial(logs, again, since)
        if fault == "dead worker":
            kill_worker_and_hold_the_next(pair, gate)
        elif fault == "hanging worker":
            signal_all(hanging := workers(pair, 1), signal.SIGSTOP)
            until(lambda shown=shown: "closing signal SIGTERM" in shown())
            signal_all(hanging, signal.SIGCONT)  # else torchrun kills it, half a minute later
        elif fault == "cut node":
            pair.cut(1)
            until(lambda shown=shown: "no progress for" in shown())
            pair.mend(1)
        else:
            pair.kill(1)
            processes[1] = start(pair, 1, variables, command, again="-again")
        until(lambda shown=shown: "resuming from" in shown() or any(each.poll() is not None for each in processes))
        step = newest(again)
        until_step(processes, again, step)
        assert "resuming from" in shown(), (fault, logs(again)[-5000:])
        assert "connectFullMesh failed" not in shown(), fault  # each attempt has a store of its own
        assert ("no progress for" in shown()) == (fault in ("hanging worker", "cut node")), fault
        assert ("the job is running, this node comes back to it" in shown()) == (fault == "lost node"), fault
    assert wait(processes, 300) == [0, 0], logs(again)[-5000:]
    assert_same(again, whole, STEPS)
