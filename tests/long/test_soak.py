"""Long proofs: a run of several epochs that is killed again and again, and many clean ends. `make test-long`."""

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

from overlay.training import log_file
from overlay.training.checkpoints import last_checkpoint
from tests.stock import ROOT, stock_command

pytestmark = [pytest.mark.long, pytest.mark.integration]
STEPS, KILLS, ENDS = 3000, 20, 40
MODULE = ["-m", "overlay.backends.trl.train"]


@pytest.fixture
def line(flags, reward_model):
    """Function: a command line of a small run with TRL, rewarded by a model so that losses tell runs apart."""

    def make(folder, **changed):
        return flags(
            output_dir=folder, reward_funcs=reward_model, max_completion_length=4, beta=0.04,
            per_device_train_batch_size=2, save_total_limit=2, **changed,
        )  # fmt: skip

    return make


@pytest.fixture(params=["trl", "vlm-r1"])
def start(request, forks, line, upstream, tiny_model_dir, demo_rows, reward_model):
    """Function (folder, log, **settings): start one process of either backend."""

    def trl(folder, log, **settings):
        return forks.start([*MODULE, *line(folder, **settings)], log)

    def vlm_r1(folder, log, **settings):
        command, variables = stock_command(
            upstream, tiny_model_dir, demo_rows, folder, reward_funcs=reward_model, max_completion_length=4, beta=0.04,
            per_device_train_batch_size=2, save_total_limit=2, **settings,
        )  # fmt: skip
        return forks.start(command, log, variables=variables, folder=upstream)

    return {"trl": trl, "vlm-r1": vlm_r1}[request.param]


def history(folder):
    return [(e["step"], e["loss"], e["kl"], e["grad_norm"]) for e in log_file.read(folder) if "loss" in e]


@pytest.mark.timeout(5400)
def test_killed_at_random_moments_it_is_the_run_that_was_never_disturbed(start, tmp_path):
    """302 rows, one prompt a step, two iterations of each batch: five epochs."""
    settings = {"max_steps": STEPS, "num_iterations": 2, "dynamic_sampling": 1, "save_steps": 20, "rollout_log_mb": 1}
    whole = start(tmp_path / "whole", tmp_path / "whole-log", **settings).wait(2400)
    assert whole.statuses == [0], whole.err[-3000:]
    run, draw, kills = tmp_path / "run", random.Random(0), 0
    kill_after = sorted(draw.sample(range(STEPS // 20), KILLS))  # in checkpoints
    for number in range(KILLS + 40):
        job = start(run, tmp_path / f"log{number}", **settings)
        while kills < KILLS and job.running():
            last = last_checkpoint(str(run))
            if last and int(last.rsplit("-", 1)[1]) // 20 >= kill_after[kills]:
                time.sleep(draw.uniform(0, 1.0))
                if job.running():
                    os.kill(job.pids[0], signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        ended = job.wait(2400)
        if ended.statuses == [0]:
            break
        assert ended.statuses == [-signal.SIGKILL], ended.err[-3000:]
    assert kills == KILLS
    first, second = history(tmp_path / "whole"), history(run)
    assert [step for step, *_ in second] == list(range(1, STEPS + 1))
    assert len({loss for _, loss, *_ in first}) > STEPS / 2
    for one, other in zip(first, second, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
    weights, again = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", run))
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


@pytest.mark.timeout(3600)
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
