"""Long proofs: a run of several epochs that is killed again and again, and many clean ends. `make test-long`."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from overlay.training.checkpoints import last_checkpoint
from tests.stock import ROOT

pytestmark = [pytest.mark.long, pytest.mark.integration]
STEPS, KILLS, ENDS = 300, 20, 40
MODULE = ["-m", "overlay.backends.trl.train"]


@pytest.fixture
def line(flags, reward_model, demo_rows, tmp_path):
    """Function: a command line of a small run on 30 rows, rewarded by a model so that losses tell runs apart."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(demo_rows.open(encoding="utf-8").readlines()[:30]), encoding="utf-8")

    def make(folder, **changed):
        return flags(
            data_file_paths=rows, output_dir=folder, reward_funcs=reward_model, max_completion_length=4, beta=0.04,
            per_device_train_batch_size=2, save_steps=5, save_total_limit=2, **changed,
        )  # fmt: skip

    return make


def history(folder):
    state = json.loads((Path(last_checkpoint(str(folder))) / "trainer_state.json").read_text())
    return [(e["step"], e["loss"], e["kl"], e["grad_norm"]) for e in state["log_history"] if "loss" in e]


def test_killed_at_random_moments_it_is_the_run_that_was_never_disturbed(line, forks, tmp_path):
    """Thirty rows, one prompt a step, two iterations of each batch: five epochs."""
    settings = {"max_steps": STEPS, "num_iterations": 2, "dynamic_sampling": 1}
    whole = forks.run([*MODULE, *line(tmp_path / "whole", **settings)], tmp_path / "whole-log")
    assert whole.statuses == [0], whole.err[-3000:]
    run, draw, kills = tmp_path / "run", random.Random(0), 0
    for start in range(KILLS + 40):
        job = forks.start([*MODULE, *line(run, **settings)], tmp_path / f"log{start}")
        if kills < KILLS:
            before, deadline = last_checkpoint(str(run)), time.monotonic() + 120
            while last_checkpoint(str(run)) == before and job.running() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 1.0))
            if job.running():
                os.kill(job.pids[0], signal.SIGKILL)
                kills += 1
        ended = job.wait(600)
        if ended.statuses == [0]:
            break
        assert ended.statuses == [-signal.SIGKILL], ended.err[-3000:]
    assert kills >= KILLS // 2
    first, second = history(tmp_path / "whole"), history(run)
    assert [step for step, *_ in second] == list(range(1, STEPS + 1))
    assert len({loss for _, loss, *_ in first}) > STEPS / 2
    for one, other in zip(first, second, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
    weights, again = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", run))
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_many_runs_end_clean_on_every_rank(line, tmp_path):
    """Under the real torchrun, whose processes end as interpreters do."""
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
    for number in range(ENDS):
        done = subprocess.run(
            [*torchrun, "--rdzv_endpoint", "127.0.0.1:0", *MODULE, *line(tmp_path / f"run{number}", max_steps=1)],
            capture_output=True, text=True, cwd=ROOT, timeout=300,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, f"run {number}: {done.stderr[-3000:]}"
