"""The first hour of a new user: from ten task folders to a scored and served model, on this machine, with what README
says to type and nothing else. `make test-long`.

The model is the tiny one that ships with the demo, the trainer TRL's, which needs no submodule, and no GPU is used.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stock import ROOT

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(1800)]
TASKS = ROOT / "data_prep" / "phone" / "tasks" / "train"
MODEL = ROOT / "overlay" / "demo" / "model"
STEPS, GENERATIONS = 4, 4
# What a user sets who has a small model and no GPU: the block of run_scripts/run_grpo_gui.sh, and two flags.
SETTINGS = {
    "BACKEND": "trl", "DEEPSPEED": "", "GENERATIONS": str(GENERATIONS), "MAX_PIXELS": "75264",
    "MAX_COMPLETION_LENGTH": "64", "LEARNING_RATE": "1e-5", "BETA": "0", "SAVE_STEPS": "2",
    "ARGS": f"--use_cpu true --bf16 false --max_steps {STEPS}",
}  # fmt: skip


class Shell:
    """Types make's commands in a folder of its own and keeps what they print. Only goals that README shows."""

    def __init__(self, folder):
        self.folder, self.venv = folder, Path(sys.executable).parents[1]
        self.known = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
        self.environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

    def line(self, goal, **variables):
        """The command line; the environment is the one that runs this test."""
        assert goal in self.known, f"README does not say make {goal}"
        own = {"VENV": str(self.venv), "RUNS": str(self.folder / "runs")} | variables
        return ["make", "-s", "-o", f"{self.venv}/.ready", goal, *(f"{name}={value}" for name, value in own.items())]

    def types(self, goal, status=0, **variables):
        """What the command prints, both streams; make itself makes 2 of every status but 0."""
        done = subprocess.run(
            self.line(goal, **variables), cwd=ROOT, env=self.environment, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == status, done.stdout[-3000:]
        assert "Traceback" not in done.stdout, done.stdout[-3000:]
        return done.stdout

    @contextmanager
    def runs(self, goal, url, **variables):
        """The command in the background, once `url` answers; ended as Ctrl-C does."""
        with open(self.folder / f"{goal}.log", "w") as log:
            process = subprocess.Popen(
                self.line(goal, **variables), cwd=ROOT, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            for _ in range(300):
                assert process.poll() is None, (self.folder / f"{goal}.log").read_text()[-3000:]
                try:
                    with urllib.request.urlopen(url, timeout=5):
                        break
                except (urllib.error.URLError, OSError):
                    time.sleep(1)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def contents(folder):
    """Every file of a folder by its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tasks(tmp_path):
    """Ten annotated tasks."""
    for folder in sorted(TASKS.iterdir(), key=lambda path: int(path.name))[:10]:
        shutil.copytree(folder, tmp_path / "tasks" / folder.name)
    return tmp_path / "tasks"


def test_from_ten_tasks_to_a_scored_and_served_model(tasks, tmp_path):
    shell, rows, before = Shell(tmp_path), tmp_path / "rows.jsonl", contents(tasks)
    given = {"DATA": rows, "IMAGES": tasks}
    shell.types("data", TASKS=tasks, OUT=rows)
    count = len(rows.read_text().splitlines())
    shell.types("data-check", **given, PROCESSOR=MODEL)
    assert "task_content" in shell.types("sample", DATA=rows)
    shell.types("split", DATA=rows, OUT=tmp_path / "rows", SHARE="0.2")
    train, held = (tmp_path / "rows" / f"{name}.jsonl" for name in ("train", "held_out"))
    parts = [len(path.read_text().splitlines()) for path in (train, held)]
    assert sum(parts) == count
    assert min(parts) > 0
    page = tmp_path / "preview.html"
    shell.types("preview", DATA=f"{train}:{held}", IMAGES=tasks, PROCESSOR=MODEL, OUT=page)
    assert page.stat().st_size > 10_000

    run = tmp_path / "runs" / "gui"
    settings = {**SETTINGS, "MODEL": MODEL, "DATA": train, "IMAGES": tasks, "OUTPUT": run}
    told = shell.types("estimate", **settings, GPU_MEMORY="80")
    assert re.search(rf"^steps +{STEPS}, {STEPS * GENERATIONS} completions in all$", told, re.MULTILINE), told
    assert "fits" in told
    assert not run.exists()
    shell.types("train", **settings)
    record = json.loads((run / "run.json").read_text())
    assert record["finished"] == STEPS
    assert "already finished" in shell.types("train", **settings)  # typed again, nothing is lost
    assert len((run / "rollouts" / "rank00000.jsonl").read_text().splitlines()) == STEPS * GENERATIONS
    shell.types("rollouts", RUN=run)
    port = free_port()
    with (
        shell.runs("watch", f"http://127.0.0.1:{port}/", RUN=run, PORT=port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/state") as state,
    ):
        assert json.load(state)["state"]["kind"] == "finished"

    shell.types("eval", MODEL=run, DATA=held, IMAGES=tasks, OUT=tmp_path / "eval", ARGS="--max_tokens 64")
    score = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert score["metrics"]["step_success_rate"]["n"] == parts[1]
    assert (tmp_path / "eval" / "report.html").is_file()

    port, picture = free_port(), tmp_path / "answer.png"
    with shell.runs("serve", f"http://127.0.0.1:{port}/health", MODEL=run, PORT=port):
        url = f"http://127.0.0.1:{port}/v1"
        ask = {"URL": url, "NAME": run, "IMAGES": tasks, "OUT": picture, "ARGS": "--max_tokens 64"}
        told = shell.types("infer", **ask, DATA=held, INDEX="0")
    assert "answer" in told
    assert picture.stat().st_size > 0
    assert contents(tasks) == before
