"""Evaluation on a file of its own, in both backends: its rows, its metrics, the best checkpoint."""

import json
from types import SimpleNamespace

import pytest
from trl import TrlParser

from data_prep.convert import convert
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.data.splits import held_out_files
from overlay.errors import SettingError
from overlay.prompt.template import load_template
from overlay.training import rollout_file as rollouts
from tests.stock import TASKS, run_stock

METRICS = ("reward", "format_rate", "action_type_accuracy", "grounding_accuracy", "step_success_rate", "task_progress")


def arguments(**changed):
    values = {
        "eval_data_file_paths": None, "eval_image_folders": None, "eval_reward_method": None, "val_split_ratio": 0.0,
        "image_folders": "tasks", "reward_method": "gui_action",
    } | changed  # fmt: skip
    return SimpleNamespace(**values)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"eval_data_file_paths": "a"}, ("a", "tasks", "gui_action")),
        ({"eval_data_file_paths": "a:b"}, ("a:b", "tasks:tasks", "gui_action:gui_action")),
        (
            {"eval_data_file_paths": "a:b", "eval_image_folders": "x:y", "reward_method": None},
            ("a:b", "x:y", None),
        ),
        ({"eval_data_file_paths": "a:b", "eval_reward_method": "llm:mcq"}, ("a:b", "tasks:tasks", "llm:mcq")),
    ],
)
def test_folders_and_methods_default_to_trainings(changed, expected):
    assert held_out_files(arguments(**changed)) == expected


def test_rows_are_not_held_out_twice():
    with pytest.raises(SettingError, match="choose one"):
        held_out_files(arguments(eval_data_file_paths="a", val_split_ratio=0.1))


@pytest.fixture(scope="module")
def held_out_rows(tmp_path_factory):
    """The demo's held-out steps, the first eight rows."""
    out = tmp_path_factory.mktemp("held_out") / "held_out.jsonl"
    convert(TASKS / "heldout", out, load_template("zh"), decode=False)
    out.write_text("".join(out.open(encoding="utf-8").readlines()[:8]), encoding="utf-8")
    return out


def settings(rows):
    return {
        "eval_data_file_paths": rows, "eval_image_folders": TASKS / "heldout", "eval_strategy": "steps",
        "eval_steps": 1, "per_device_eval_batch_size": 4, "metric_for_best_model": "eval_reward", "save_steps": 1,
    }  # fmt: skip


def check(log, folder):
    evaluations = [entry for entry in log if "eval_reward" in entry]
    assert [entry["step"] for entry in evaluations] == [1, 2]
    assert all(name in entry for entry in evaluations for name in (f"eval_{metric}" for metric in METRICS))
    seen = {record["source"] for record in rollouts.read(folder) if record["mode"] == "eval"}
    assert len(seen) == 8  # all of the file, and nothing else
    assert all("held_out.jsonl" in source for source in seen)


@pytest.mark.integration
def test_trl(flags, held_out_rows, tmp_path):
    line = flags(max_steps=2, **settings(held_out_rows))
    trainer = train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    check(trainer.state.log_history, tmp_path / "run")
    assert trainer.state.best_model_checkpoint.startswith(str(tmp_path / "run" / "checkpoint-"))


@pytest.mark.integration
@pytest.mark.slow
def test_vlm_r1(upstream, forks, tiny_model_dir, demo_rows, held_out_rows, tmp_path):
    log = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "run", forks=forks, **settings(held_out_rows))
    check(log, tmp_path / "run")
    state = json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"].startswith(str(tmp_path / "run" / "checkpoint-"))
