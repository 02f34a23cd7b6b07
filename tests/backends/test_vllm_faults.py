"""A vLLM server that is gone, late or has other pixels in the middle of a run: one line, nothing lost, and a resume."""

import json
import time

import pytest
from safetensors.torch import load_file

from overlay.backends.trl.train import main
from overlay.model.processor import write_limited
from tests.vllm_standin import GENERATE, LIMIT, RENDER, UPDATE, Hangup, line, start_standin  # noqa: F401  (a fixture)

pytestmark = pytest.mark.integration
STEPS = 3
OWN = {"max_steps": STEPS, "learning_rate": 1e-3, "save_strategy": "steps", "save_steps": 10}


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    return tmp_path / "limited"


@pytest.fixture
def start(start_standin, folder, demo_rows, tmp_path):  # noqa: F811
    """Function (name of the run, what the server does before an answer, **flags) → the run's exit status."""

    def run(name, before=None, serves=None, **flags):
        server = start_standin(serves or folder)
        server.before = before or server.before
        return main(line(folder, demo_rows, tmp_path, server, **OWN | {"output_dir": tmp_path / name} | flags))

    return run


def in_step(number, path, do, spared=0):
    """`before` that does something at requests for `path` after weights were announced `number` + 1 times, but for the
    first of these that are `spared`."""
    updates, there = [], []

    def before(asked, body):
        updates.extend([asked] if asked == UPDATE else [])
        if asked == path and len(updates) > number:
            there.append(asked)
            if len(there) > spared:
                do()

    return before


def hang_up():
    raise Hangup


def hang_up_within():
    raise Hangup(9)


def weights(run):
    return load_file(run / "model.safetensors")


def completions(run):
    return [json.loads(text)["completion"] for text in (run / "rollouts" / "rank00000.jsonl").open(encoding="utf-8")]


def test_a_server_that_is_gone_costs_the_step_only(start, tmp_path, capsys):
    """Before the step's first prompt, and in the middle of its accumulation."""
    own = {"gradient_accumulation_steps": 2, "steps_per_generation": 1}
    assert start("whole", **own) == 0
    for name, path, spared in (("at first", UPDATE, 0), ("later", GENERATE, 2)):
        capsys.readouterr()
        assert start(name, in_step(2, path, hang_up, spared), **own) == 4
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("train: the vLLM server at http://127.0.0.1:")
        assert "is gone. Nothing was trained in step 2, the steps before it are kept" in told
        assert (tmp_path / name / "checkpoint-2").is_dir()
        assert start(name, **own) == 0
        if not spared:
            assert completions(tmp_path / name) == completions(tmp_path / "whole")
        for weight, tensor in weights(tmp_path / "whole").items():
            assert tensor.equal(weights(tmp_path / name)[weight]), weight


def test_a_run_that_has_just_gone_on_may_meet_the_next_fault(start, tmp_path, capsys):
    assert start("twice", in_step(2, GENERATE, hang_up)) == 4
    assert start("twice", in_step(0, RENDER, hang_up_within)) == 4
    assert "is gone. Nothing was trained in step 2" in capsys.readouterr().err.splitlines()[-1]
    assert start("twice") == 0
    assert len(completions(tmp_path / "twice")) == 4 * STEPS


@pytest.mark.slow
def test_all_ranks_end_with_the_line(start_standin, folder, demo_rows, forks, tmp_path):  # noqa: F811
    """Rank 1 waits for what rank 0 would have sent it; both are in the checkpoint."""
    server = start_standin(folder)
    server.before = in_step(1, GENERATE, hang_up)
    command = ["-m", "tests.vllm_standin", *line(folder, demo_rows, tmp_path, server, **OWN)]
    ended = forks.run(command, tmp_path / "log", 2)
    assert ended.statuses == [4, 4], ended.err
    assert ended.err.count("is gone. Nothing was trained in step 1") == 2
    server.before = lambda path, body: None
    ended = forks.run(command, tmp_path / "again", 2)
    assert ended.statuses == [0, 0], ended.err
    assert "resuming from " in ended.err
    assert "checkpoint-1\n" in ended.err


def test_a_late_server_is_waited_for_as_long_as_was_said(start, capsys):
    began = time.monotonic()
    assert start("late", in_step(1, GENERATE, lambda: time.sleep(3)), vllm_request_timeout=0.5) == 4
    assert "gave no answer in 0.5 s (--vllm_request_timeout)" in capsys.readouterr().err.splitlines()[-1]
    assert time.monotonic() - began < 60


def test_other_pixel_limits_are_seen_before_anything_is_generated(start, tiny_model_dir, tmp_path, capsys):
    write_limited(tiny_model_dir, tmp_path / "larger", 3136, 4 * LIMIT)
    assert start("pixels", serves=tmp_path / "larger") == 4
    assert "its pixel limits are others. Serve the folder" in capsys.readouterr().err.splitlines()[-1]
