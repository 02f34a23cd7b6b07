"""A rank that hangs, or dies, ends all ranks within the timeout, and the reason names it. Real processes over gloo."""

import os
import re
import subprocess
import sys
import time

import pytest

from overlay.training.heartbeat import STATUS
from tests.stock import ROOT, TASKS

pytestmark = pytest.mark.integration

RUN = """
import os, sys, time
from trl import TrlParser
from overlay.rewards import REWARDS
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with

calls = 0
def stuck(completions, **columns):
    global calls
    calls += 1
    if calls == 3 and os.environ["RANK"] == "1":
        {what}
    return [float(n) for n in range(len(completions))]

REWARDS["stuck"] = stuck
train_with(*TrlParser(ARGUMENTS).parse_args_and_config())
"""


@pytest.fixture
def words(tiny_model_dir, demo_rows, tmp_path):
    """Function (what rank 1 does in step 2, --ddp_timeout in seconds) → the script and its flags, a command line of
    Python."""

    def make(what, seconds):
        script = tmp_path / "run.py"
        script.write_text(RUN.format(what=what))
        line = [
            "--model_name_or_path", tiny_model_dir, "--data_file_paths", demo_rows, "--image_folders", TASKS / "train",
            "--arrow_cache_dir", tmp_path / "arrow", "--max_steps", 6, "--max_pixels", 84 * 112, "--output_dir",
            tmp_path / "out", "--per_device_train_batch_size", 2, "--num_generations", 2, "--max_completion_length", 4,
            "--use_cpu", "true", "--bf16", "false", "--report_to", "none", "--reward_funcs", "stuck", "--save_steps", 1,
            "--ddp_timeout", seconds,
        ]  # fmt: skip
        return [str(script), *map(str, line)]

    return make


def test_a_rank_that_hangs_is_named(words, forks, tmp_path):
    start = time.monotonic()
    done = forks.run(words("time.sleep(1000)", 12), tmp_path / "log", 2)
    assert STATUS in done.statuses
    # whichever rank is first to its limit speaks, and the launcher ends the other
    reason = re.search(r"rank [01]: no progress for 1\d s in step 2 .*", done.err)
    assert reason, done.err[-3000:]
    assert re.search(r"waiting for rank 1 on \S+ \(in stuck, step 2\)", reason[0])
    assert time.monotonic() - start < 150
    assert sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_a_rank_that_dies_ends_the_others(words):
    """Under the real torchrun: it is what sees the death and ends the others."""
    start = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d",
            "--rdzv_endpoint", "127.0.0.1:0", *words("os.kill(os.getpid(), 9)", 600),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL) received" in done.stderr
    assert time.monotonic() - start < 150  # and not after --ddp_timeout


def test_status_is_no_python_exception():
    assert STATUS not in (0, 1, 2)
