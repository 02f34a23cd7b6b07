"""Live training of the model that looks, in real browsers, in both backends: killed in an episode, and with browsers
that die."""

import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from overlay.demo.score import MODEL
from tests.conftest import needs_chromium
from tests.live.flaky_pages import ASKED
from tests.live.test_fleet import browsers, children
from tests.stock import ROOT, stock_command

pytestmark = [pytest.mark.integration, pytest.mark.long, needs_chromium]
SETTINGS = {
    "episodes": "live", "episode_steps": 2, "num_generations": 4, "per_device_train_batch_size": 16,
    "max_completion_length": 60, "max_steps": 3, "save_steps": 1, "min_pixels": 784, "max_pixels": 75264,
    "learning_rate": 1e-4, "seed": 1, "live_tasks": "form:entries:chips:shapes", "reward_weights": [1, 0.1],
    "reward_funcs": ["page", "format_scaled"],
}  # fmt: skip


@pytest.fixture(params=["trl", "vlm-r1"])
def start(request, flags, tmp_path, forks):
    """Function (folder's name, log's name) → a started run, whose process is ours to kill."""

    def of(name, log, **changed):
        settings = SETTINGS | changed
        if request.param == "vlm-r1":
            upstream = request.getfixturevalue("upstream")
            command, own = stock_command(upstream, ROOT / MODEL, "none", tmp_path / name, **settings)
            for flag in ("--data_file_paths", "--image_folders"):  # there are none
                del command[command.index(flag) : command.index(flag) + 2]
            return forks.start(command, tmp_path / log, 1, variables=own, folder=upstream)
        line = flags(model_name_or_path=ROOT / MODEL, output_dir=tmp_path / name, **settings)
        more = ["--model_init_kwargs", '{"dtype": "float32"}']
        return forks.start(["-m", "overlay.backends.trl.train", *line, *more], tmp_path / log)

    return of


def records(folder):
    return [json.loads(line) for line in (folder / "rollouts" / "rank00000.jsonl").open(encoding="utf-8")]


def told(folder):
    return [(r["step"], r["source"], r["problem"], r["completion"], r["rewards"], r["advantage"])
            for r in records(folder)]  # fmt: skip


def steps_of(folder):
    return {entry["step"]: entry for entry in map(json.loads, (folder / "log.jsonl").open()) if "loss" in entry}


def until(job, found):
    """What `found` returns, once it does; None when the run ends before."""
    while job.running():
        if value := found():
            return value
        time.sleep(0.01)
    return None


def test_killed_in_an_episode_it_goes_on_as_if_nothing_had_happened(start, tmp_path):
    whole = start("whole", "whole.log").wait()
    assert whole.statuses == [0], whole.err[-3000:]
    job = start("run", "first.log")
    checkpoint = tmp_path / "run" / "checkpoint-1"
    assert until(job, checkpoint.is_dir)
    screens = len(list((tmp_path / "run" / "screens").iterdir()))
    until(job, lambda: len(list((tmp_path / "run" / "screens").iterdir())) > screens)  # the next batch has begun
    os.kill(job.pids[0], signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "run" / "checkpoint-3").exists()
    again = start("run", "second.log").wait()
    assert again.statuses == [0], again.err[-3000:]
    run = told(tmp_path / "run")
    for step in range(3):  # what the killed process had written of a step comes again
        first = [record[1:] for record in told(tmp_path / "whole") if record[0] == step]
        assert [record[1:] for record in run if record[0] == step][-len(first) :] == first
    weights, other = (load_file(tmp_path / name / "checkpoint-3" / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(weights[name], other[name]) for name in weights)
    assert any(record[-1] for record in run)
    assert {reward for record in run for reward in record[4].values()} >= {0.0, 1.0}


def test_a_browser_that_dies_costs_its_episodes(start, tmp_path):
    job = start("run", "run.log")
    screens = tmp_path / "run" / "screens"
    assert until(job, lambda: screens.is_dir() and list(screens.iterdir()))
    killed = children(job.pids[0], "overlay.live.worker")[:1]
    for pid in killed and browsers(killed[0]):
        os.kill(pid, signal.SIGKILL)
    done = job.wait()
    assert done.statuses == [0], done.err[-3000:]
    assert " rollouts were lost: " in done.err
    log = steps_of(tmp_path / "run")
    assert len(log) == 3
    assert log[1]["episodes/lost"] > 0
    assert log[2]["episodes/lost"] == log[3]["episodes/lost"] == 0
    lost = [record for record in records(tmp_path / "run") if record["rewards"]["page_reward"] is None]
    assert all(record["step"] == 0 and record["advantage"] == 0 for record in lost)


def test_each_batchs_pages_begin_once(start, tmp_path, monkeypatch):
    """Those of the next batch while the model is trained on this one: what is foreseen is what comes, in each epoch."""
    monkeypatch.setenv(ASKED, str(tmp_path / "asked"))
    pages = {
        "live_pages": "tests.live.flaky_pages",
        "live_tasks": "countdown",
        "live_seeds": 3,
        "max_pixels": 112 * 168,
    }
    done = start("run", "run.log", max_steps=4, per_device_train_batch_size=8, **pages).wait()
    assert done.statuses == [0], done.err[-3000:]
    asked = [int(seed) for seed in (tmp_path / "asked.log").read_text().split()]
    assert len(asked) == 4 * 4  # one episode a step, in four rollouts
    assert len({*asked}) == 3
