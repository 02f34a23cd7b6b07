"""Each failure that the preflight is for, provoked once: pure checks, and real processes that meet on loopback."""

import shutil
import socket
import subprocess

import pytest
import torch.distributed as dist

from overlay.nodes import checks
from tests.stock import ROOT

COPIED = ("overlay", "run_scripts", "patches")


def facts(**changed):
    node = dict.fromkeys(checks.ADVICE, "same") | {"host": "a", "GPUs": "8 x H100", "processes": "8"}
    return node | {"RDMA devices": "mlx5_0", "libibverbs": "found"} | changed


def test_agreeing_nodes_pass():
    nodes = [facts(), facts(host="b")]
    assert checks.differing(nodes) == checks.devices(nodes) == checks.clocks([10.0, 10.5], ["a", "b"]) == []


@pytest.mark.parametrize(
    ("name", "advice"), [("torch", "lock's versions"), ("commit", "same commit"), ("VLM-R1", "make patch")]
)
def test_a_node_that_differs_is_named_with_what_to_do(name, advice):
    (line,) = checks.differing([facts(), facts(), facts(host="c", **{name: "other"})])
    assert line.startswith(f"node 2 (c): {name} other, node 0 has same: ")
    assert advice in line


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"GPUs": "4 x H100"}, "4 GPUs for 8 processes"),
        ({"libibverbs": "missing"}, "RDMA devices but no libibverbs"),
    ],
)
def test_devices(changed, message):
    (line,) = checks.devices([facts(), facts(host="b", **changed)])
    assert line.startswith("node 1 (b): ")
    assert message in line
    assert checks.devices([facts(GPUs="none", **{"RDMA devices": "none", "libibverbs": "missing"})]) == []


def test_clocks():
    (line,) = checks.clocks([100.0, 101.0, 40.0], ["a", "b", "c"])
    assert line.startswith("node 2 (c): its clock is -60 s off node 0's")


@pytest.mark.parametrize(
    ("numbers", "fits"),
    [((5, 8, 1, 8), True), ((2, 8, 1, 5), False), ((1, 1, 1, 1), False), ((2, 8, 3, 0), True)],
)
def test_batch_arithmetic(numbers, fits):
    assert (checks.divisible(*numbers) == []) is fits


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def pair(forks, tmp_path):
    """Function: the preflight of two nodes on loopback; the second one's flags, folder and variables may differ."""
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    port = free_port()

    def run(second=None, root=ROOT, nodes=2, start=(0, 1), variables=None, timeout=60):
        flags = {
            "data": tmp_path / "rows.jsonl", "model": tmp_path / "model", "output": tmp_path / "out", "processes": 1,
            "batch": 2, "generations": 2, "timeout": timeout,
        }  # fmt: skip
        jobs = []
        for rank in start:
            line = flags | (second or {} if rank else {})
            folder = root if rank else ROOT
            place = {"NNODES": str(nodes), "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            jobs.append(forks.start(
                ["-m", "overlay.nodes.preflight", *(f"--{name}={value}" for name, value in line.items())],
                tmp_path / f"node{rank}.log", folder=folder,
                variables={"PYTHONPATH": str(folder)} | place | (variables or {}),
            ))  # fmt: skip
        done = [job.wait(120) for job in jobs]
        failures = [
            [x.removeprefix("preflight: ") for x in node.err.splitlines() if "preflight: " in x] for node in done
        ]
        return [node.statuses[0] for node in done], failures, done[0].out, port

    return run


@pytest.mark.integration
class TestRealProcesses:
    def test_nodes_that_agree(self, pair, tmp_path):
        statuses, failures, shown, _ = pair()
        assert statuses == [0, 0], failures
        assert failures == [[], []]
        assert all(word in shown for word in ("node 1", "transformers", "VLM-R1", "clock, s", "all-reduce, GB/s"))
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["preflight.json"]  # of its own files nothing

    def test_another_commit_and_other_data(self, pair, tmp_path):
        """A clone with a commit of its own, and a data file that differs in one byte."""
        other = tmp_path / "clone"
        for name in COPIED:
            shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
        changed = other / "overlay" / "errors.py"
        changed.write_text("# changed\n" + changed.read_text())
        git = ["git", "-C", str(other), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Other"]):
            subprocess.run([*git, *words], check=True)
        (tmp_path / "other.jsonl").write_text('{"id": 2}\n')
        statuses, failures, shown, _ = pair({"data": tmp_path / "other.jsonl"}, other)
        assert statuses == [1, 1]
        assert failures[0] == failures[1]  # every node says all of it
        for name, advice in (("commit", "check out the same commit"), ("code", "check it out anew"), ("data", "copy")):
            assert any(f": {name} " in line and advice in line for line in failures[0]), failures
        assert "(!)" in shown

    def test_a_file_that_is_not_there(self, pair, tmp_path):
        statuses, failures, *_ = pair({"data": tmp_path / "gone.jsonl"})
        assert statuses == [1, 1]
        assert failures[0] == failures[1] == [f"node 1: {tmp_path / 'gone.jsonl'}: No such file or directory"]

    def test_a_folder_that_cannot_be_written(self, pair, tmp_path):
        (tmp_path / "file").write_text("no folder")
        statuses, failures, *_ = pair({"output": tmp_path / "file" / "out"})
        assert statuses == [1, 1]
        assert failures[0] == failures[1] == [
            f"node 1: {tmp_path / 'file' / 'out'} cannot be written (Not a directory): mount it, or set OUTPUT"
        ]  # fmt: skip

    def test_a_folder_that_is_not_shared(self, pair, tmp_path):
        statuses, failures, *_ = pair({"output": tmp_path / "own"}, timeout=4)
        assert statuses == [1, 1]
        assert any("does not show what node 1 wrote: it must be shared" in line for line in failures[0])

    def test_a_node_that_does_not_come(self, pair):
        statuses, failures, _, port = pair(start=(0,), timeout=2)
        assert statuses == [1]
        assert failures == [[
            f"node 1 has not come (facts): is it started with the same NNODES=2, and does it reach 127.0.0.1:{port}?"
        ]]  # fmt: skip

    def test_a_closed_port(self, pair):
        statuses, failures, _, port = pair(start=(1,), timeout=2)
        assert statuses == [1]
        assert failures[0][0].startswith(f"node 1 cannot reach 127.0.0.1:{port} within 2 s: is node 0 started")

    def test_a_port_in_use(self, pair):
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            statuses, failures, *_ = pair(start=(0,), variables={"MASTER_PORT": str(taken.getsockname()[1])}, timeout=2)
        assert statuses == [1]
        assert "cannot be opened on this node" in failures[0][0]
        assert "choose another MASTER_PORT" in failures[0][0]


@pytest.mark.integration
def test_a_node_that_comes_back_is_compared_with_what_the_job_started_with(pair, tmp_path):
    statuses, *_ = pair()
    assert statuses == [0, 0]
    # torchrun's agent on node 0, as its c10d rendezvous leaves its mark.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    store.set("torch.rendezvous.gui", "state")
    there = {"start": (1,), "variables": {"MASTER_PORT": str(store.port)}, "timeout": 20}
    statuses, failures, shown, _ = pair(**there)
    assert (statuses, failures) == ([0], [[]])
    assert "node 1: the job is running, this node comes back to it" in shown
    (tmp_path / "other.jsonl").write_text('{"id": 2}\n')
    statuses, ((line,),), *_ = pair({"data": tmp_path / "other.jsonl"}, **there)
    assert statuses == [1]
    assert line.startswith("node 1 (")
    assert "the data files differ: copy them again" in line
    statuses, ((line,),), *_ = pair({"output": tmp_path / "own"}, **there)
    assert statuses == [1]
    assert f"{tmp_path / 'own' / 'preflight.json'} cannot be read ([Errno 2] No such file or directory" in line
    assert line.endswith("mount the job's output folder, or set PREFLIGHT=0 where the job was started so")
    statuses, ((line,),), *_ = pair(nodes=3, **there)
    assert statuses == [1]
    assert "node 1: NNODES=3, but " in line
    assert "is of a job of 2 nodes" in line


def test_the_copied_folders_are_those_of_the_project():
    assert all((ROOT / name).is_dir() for name in COPIED)
    assert (ROOT / "overlay" / "nodes" / "preflight.py").is_file()
