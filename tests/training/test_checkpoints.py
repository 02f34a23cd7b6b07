"""Checkpoints are whole or not there: a run that dies at any moment goes on with the losses it would have had."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from transformers import TrainerCallback
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.errors import RunStopped
from overlay.training.checkpoints import ASIDE, last_checkpoint
from tests.stock import TASKS

pytestmark = pytest.mark.integration


@pytest.fixture
def flags(tiny_model_dir, demo_rows, reward_model, tmp_path):
    """Function: a small run's command line."""

    def make(**changed):
        values = {
            "model_name_or_path": tiny_model_dir, "data_file_paths": demo_rows, "image_folders": TASKS / "train",
            "arrow_cache_dir": tmp_path / "arrow", "reward_method": "gui_action", "max_pixels": 84 * 112,
            "output_dir": tmp_path / "run", "per_device_train_batch_size": 2, "num_generations": 2,
            "max_completion_length": 8, "max_steps": 6, "learning_rate": 1e-3, "logging_steps": 1, "save_steps": 1,
            "gradient_checkpointing": "false", "report_to": "none", "use_cpu": "true", "bf16": "false", "beta": 0.04,
            "log_completions": "false", "reward_funcs": reward_model,
        } | changed  # fmt: skip
        return [str(part) for name, value in values.items() for part in (f"--{name}", value)]

    return make


def train(line):
    return train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))


def history(folder):
    log = json.loads((Path(last_checkpoint(str(folder))) / "trainer_state.json").read_text())["log_history"]
    return [(entry["step"], entry["loss"], entry["kl"]) for entry in log if "loss" in entry]


@pytest.mark.slow
def test_killed_in_saves_and_between_them(flags, forks, tmp_path):
    command = ["-m", "overlay.backends.trl.train"]
    assert forks.run([*command, *flags(output_dir=tmp_path / "whole")], tmp_path / "whole.log").statuses == [0]
    run = tmp_path / "run"
    kills, statuses = 0, []
    while statuses != [0]:
        job = forks.start([*command, *flags()], tmp_path / f"start{kills}.log")
        before, killed = last_checkpoint(str(run)), False
        while job.running() and not killed and kills < 3:
            advanced = last_checkpoint(str(run)) != before
            killed = advanced and (run / ASIDE).exists() == (kills < 2)  # in a save, in a save again, between two
            if killed:
                os.kill(job.pids[0], signal.SIGKILL)
            time.sleep(0.002)
        done = job.wait()
        statuses, kills = done.statuses, kills + killed
        assert statuses[0] in (0, -signal.SIGKILL), done.err[-3000:]
    assert kills >= 1  # three, but for a machine too busy to look in time
    resumed, whole = history(run), history(tmp_path / "whole")
    assert [step for step, *_ in resumed] == [1, 2, 3, 4, 5, 6]
    assert any(loss for _, loss, _ in whole)
    for first, second in zip(resumed, whole, strict=True):
        assert first == pytest.approx(second, abs=1e-6)
    assert not (run / ASIDE).exists()


def test_a_checkpoint_that_is_cut_short_is_not_taken(flags, tmp_path, monkeypatch):
    from overlay.backends.trl.trainer import GuiGRPOTrainer

    def dies(self, output_dir):
        if self.state.global_step == 3:
            raise InterruptedError("as if the process died here")
        return written(self, output_dir)

    written = GuiGRPOTrainer._save_rng_state
    with monkeypatch.context() as patch:
        patch.setattr(GuiGRPOTrainer, "_save_rng_state", dies)
        with pytest.raises(InterruptedError):
            train(flags())
    assert (tmp_path / "run" / ASIDE / "checkpoint-3" / "model.safetensors").exists()
    assert last_checkpoint(str(tmp_path / "run")).endswith("checkpoint-2")
    assert train(flags()).state.global_step == 6
    assert not (tmp_path / "run" / ASIDE).exists()


def test_the_limit_counts_whole_checkpoints(flags, tmp_path):
    train(flags(save_total_limit=2, max_steps=4))
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]


def test_the_best_checkpoint_is_named_where_it_is(flags, tmp_path):
    trainer = train(flags(
        max_steps=2, val_split_ratio=0.02, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=2,
        metric_for_best_model="eval_reward", greater_is_better="true",
    ))  # fmt: skip
    assert any("eval_step_success_rate" in entry for entry in trainer.state.log_history)
    best = Path(trainer.state.best_model_checkpoint)
    assert best.is_dir()
    assert best.parent == tmp_path / "run"
    last = json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text())
    assert last["best_model_checkpoint"] == str(best)


def test_a_full_disk_is_said_and_the_last_checkpoint_kept(flags, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("NEEDS MOUNT: root that may mount a tmpfs")
    try:
        with pytest.raises(RunStopped, match=r"the disk is full: .*could not be written, .*checkpoint-\d is kept"):
            train(flags(output_dir=disk / "run", rollout_log_mb=0))
        kept = Path(last_checkpoint(str(disk / "run")))
        assert json.loads((kept / "trainer_state.json").read_text())["global_step"] >= 1
        assert not (disk / "run" / ASIDE).exists()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_what_save_only_model_loses_is_said_before_training(flags, capsys, monkeypatch):
    from overlay.backends.trl.trainer import GuiGRPOTrainer

    class Stop(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen.append(capsys.readouterr().err)

    seen = []
    made = GuiGRPOTrainer.__init__
    monkeypatch.setattr(
        GuiGRPOTrainer, "__init__", lambda self, *a, **k: (made(self, *a, **k), self.add_callback(Stop()))[0]
    )
    train(flags(save_only_model="true", max_steps=1))
    assert "resumes with a fresh optimizer and schedule" in seen[0]
