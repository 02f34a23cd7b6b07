"""Several rewards together: weights, missing values, reward models, what is logged and kept, and a judge that fails."""

import json
import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from trl import TrlParser

from benchmarks.judge_server import judge_server
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.errors import RunStopped, SettingError
from overlay.rewards import REWARDS
from overlay.training.recorder import statistics
from overlay.training.rollout_file import RolloutFile
from tests.stock import TASKS, run_stock

NAN = float("nan")


def letters(completions, **columns):
    """Tells random completions apart."""
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


def gaps(completions, **columns):
    """One value, one None, one NaN, one value."""
    return [[1.0, None, NAN, 3.0][n % 4] for n in range(len(completions))]


def test_statistics_of_a_component():
    values = statistics(torch.tensor([1.0, 1.0, 0.0, 2.0, NAN, NAN, NAN, 5.0]), group=2)
    assert values["mean"] == pytest.approx(9 / 5)
    assert values["zero_std_groups"] == 3 / 4  # equal, ranked, none known, one known
    assert statistics(torch.tensor([NAN, NAN]), 2) == {"mean": 0.0, "std": 0.0, "zero_std_groups": 1.0}


@pytest.fixture
def trl_run(tiny_model_dir, demo_rows, tmp_path):
    """Function: train with TRL's trainer; returns the trainer."""

    def run(**changed):
        values = {
            "model_name_or_path": tiny_model_dir, "data_file_paths": demo_rows, "image_folders": TASKS / "train",
            "arrow_cache_dir": tmp_path / "arrow", "reward_method": "gui_action", "max_pixels": 84 * 112,
            "output_dir": tmp_path / "run", "per_device_train_batch_size": 4, "num_generations": 2,
            "max_completion_length": 8, "max_steps": 2, "learning_rate": 1e-3, "logging_steps": 1,
            "gradient_checkpointing": "false", "report_to": "none", "use_cpu": "true", "bf16": "false",
            "log_completions": "false",
        } | changed  # fmt: skip
        parts = ((f"--{name}", *(value if isinstance(value, list) else [value])) for name, value in values.items())
        return train_with(
            *TrlParser(ARGUMENTS).parse_args_and_config(args=[str(part) for one in parts for part in one])
        )

    return run


def records_of(folder):
    return [json.loads(line) for file in sorted((folder / "rollouts").glob("*")) for line in file.open()]


@pytest.mark.integration
def test_trl_weighs_functions_and_a_reward_model(trl_run, reward_model, tmp_path, monkeypatch):
    monkeypatch.setitem(REWARDS, "letters", letters)
    monkeypatch.setitem(REWARDS, "gaps", gaps)
    trainer = trl_run(reward_funcs=["letters", "gaps", f"{reward_model}"], reward_weights=[2.0, 0.5, 1.0])
    log = next(entry for entry in trainer.state.log_history if "reward" in entry)
    rows = records_of(tmp_path / "run")
    assert len(rows) == 8
    assert set(rows[0]["rewards"]) == {"letters", "gaps", "reward"}
    assert [row["rewards"]["gaps"] for row in rows[:4]] == [1, None, None, 3]
    assert log["rewards/gaps/zero_std_groups"] == 1.0
    assert log["rewards/gaps/mean"] == 2.0
    total = [
        2 * row["rewards"]["letters"] + 0.5 * (row["rewards"]["gaps"] or 0) + row["rewards"]["reward"] for row in rows
    ]
    assert log["reward"] == pytest.approx(sum(total[:4]) / 4, abs=1e-5)
    assert all({"step", "source", "image_path", "solution", "completion", "advantage"} <= set(row) for row in rows)


@pytest.mark.integration
def test_vlm_r1_weighs_alike(vlm_r1_trainer, reward_model):
    rewards = [letters, gaps, AutoModelForSequenceClassification.from_pretrained(reward_model)]
    trainer = vlm_r1_trainer(rewards, reward_weights=[2.0, 0.5, 1.0])
    trainer.model.train()
    rows = [trainer.train_dataset[i] for i in (0, 0, 60, 60)]
    result = trainer._generate_and_score_completions(rows, trainer.model)
    scores, metrics = trainer.recorder.scores, trainer._metrics
    total = [
        2 * a + 0.5 * (b or 0) + c for a, b, c in zip(scores["letters"], scores["gaps"], scores["reward"], strict=True)
    ]
    assert metrics["reward"] == [pytest.approx(sum(total) / 4, abs=1e-5)]
    assert metrics["rewards/gaps"] == [2.0]  # the raw mean of what there was, not of what was weighted
    assert metrics["rewards/letters"] == [pytest.approx(sum(scores["letters"]) / 4)]
    assert metrics["rewards/gaps/zero_std_groups"] == [1.0]
    assert metrics["rewards/letters/std"][0] > 0
    high = total.index(max(total[:2]))
    assert result["advantages"][high] > 0
    assert result["advantages"].sum().abs() < 1e-4


@pytest.mark.integration
def test_two_rewards_of_one_name_are_refused(vlm_r1_trainer, trl_run, reward_model, copy_of):
    """Both trainers would log them as one."""
    again = copy_of(reward_model.parent, "elsewhere") / reward_model.name
    for twice in (["format", "format"], [f"{reward_model}", f"{again}"]):
        with pytest.raises(SettingError, match=r"--reward_funcs: two rewards are logged as '(format_)?reward'"):
            trl_run(reward_funcs=twice)
    with pytest.raises(SettingError, match="two rewards are logged as 'letters'"):
        vlm_r1_trainer([letters, letters])
    with pytest.raises(SettingError, match="two rewards are logged as 'reward'"):
        vlm_r1_trainer([letters, f"{reward_model}", f"{again}"])


@pytest.mark.integration
def test_wrong_number_of_weights_is_one_line(vlm_r1_trainer, trl_run):
    with pytest.raises(SettingError, match="1 weights for 2 --reward_funcs"):
        vlm_r1_trainer([letters, gaps], reward_weights=[1.0])
    with pytest.raises((SystemExit, ValueError), match=r"reward.weights"):
        trl_run(reward_funcs=["format", "accuracy"], reward_weights=[1.0])


@pytest.mark.integration
@pytest.mark.slow
def test_the_stock_script_with_a_judge_weights_and_a_reward_model(
    upstream, forks, tiny_model_dir, demo_rows, reward_model, tmp_path
):
    with judge_server() as server:
        log = run_stock(
            upstream, tiny_model_dir, demo_rows, tmp_path / "run", forks=forks, reward_method="llm",
            reward_funcs=["accuracy", "format_graded", f"{reward_model}"], reward_weights=[1, 0.5, 0.1],
            judge_model="m", judge_cache_dir=tmp_path / "verdicts",
            variables={"OPENAI_API_BASE": server.base, "OPENAI_API_KEY": "k"},
        )  # fmt: skip
        assert server.requests
    entry = next(entry for entry in log if "judge/failure_rate" in entry)
    assert entry["judge/failure_rate"] == 0
    assert entry["judge/asked"] + entry["judge/cached"] > 0
    assert all(math.isfinite(entry[name]) for name in ("reward", "rewards/reward", "rewards/accuracy_reward"))
    assert {path.name for path in (tmp_path / "run" / "rollouts").iterdir()} == {"rank00000.jsonl", "rank00001.jsonl"}
    assert len(records_of(tmp_path / "run")) == 16


@pytest.mark.integration
def test_a_judge_that_fails_stops_the_run_with_its_checkpoint(trl_run, tmp_path, monkeypatch):
    settings = {
        "reward_funcs": ["accuracy", "format"], "reward_method": "llm", "judge_model": "m", "judge_cache_dir": "",
        "judge_retries": 0, "max_steps": 3, "save_steps": 100,
    }  # fmt: skip
    with judge_server("garbage") as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.base)
        with pytest.raises(RunStopped, match=r"no verdict on 4 of 4 answers in step 0.*--judge_max_failure 0.5"):
            trl_run(**settings)
        assert (tmp_path / "run" / "checkpoint-1").is_dir()
        server.usual = 0.0
        trainer = trl_run(**settings)  # the same command goes on
    assert trainer.state.global_step == 3
    assert trainer.state.log_history[-2]["judge/failure_rate"] == 0
    # Below the limit the run goes on, and the share is logged.
    with judge_server() as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.base)
        server.script = ["garbage"]
        trainer = trl_run(**settings | {"output_dir": tmp_path / "other", "max_steps": 1})
    assert trainer.state.log_history[0]["judge/failure_rate"] == 0.25


@pytest.mark.integration
def test_training_goes_on_through_every_fault_of_the_server(trl_run, monkeypatch):
    """Drops, refusals, garbage, silence beyond the deadline, death and return: each step's counts are right."""
    plan = iter(["faults", "well", "silent", "dead", "back"])
    running, state = [judge_server()], {}

    def fate(completions, **columns):
        """Runs before the judged reward of each step."""
        what, server = next(plan), state["server"]
        if what == "faults":
            server.script = [None, 429, 500, "1.0 because you told me"]
        elif what == "silent":
            server.usual = 60.0
        elif what == "dead":
            running.pop().__exit__(None, None, None)
        elif what == "back":
            running.append(judge_server(port=state["port"]))
            running[-1].__enter__()
        return [0.0] * len(completions)

    monkeypatch.setitem(REWARDS, "fate", fate)
    state["server"] = running[0].__enter__()
    state["port"] = state["server"].server_address[1]
    monkeypatch.setenv("OPENAI_API_BASE", state["server"].base)
    try:
        trainer = trl_run(
            reward_funcs=["fate", "accuracy"], reward_method="llm", judge_model="m", judge_cache_dir="",
            judge_retries=0, judge_timeout=2, judge_deadline=4, judge_max_failure=1.0, max_steps=5,
        )  # fmt: skip
    finally:
        while running:
            running.pop().__exit__(None, None, None)
    logs = [entry for entry in trainer.state.log_history if "judge/failure_rate" in entry]
    assert [entry["judge/failure_rate"] for entry in logs] == [1.0, 0.0, 1.0, 1.0, 0.0]
    assert [entry["judge/asked"] for entry in logs] == [4.0] * 5
    assert all(math.isfinite(entry["loss"]) for entry in logs)


def test_a_rollout_file_stays_small_and_whole(tmp_path):
    log = RolloutFile(str(tmp_path), 3, megabytes=0.02)
    for step in range(500):
        log.write([{"step": step, "completion": "\ud800 终" * 20}])
    files = sorted((tmp_path / "rollouts").iterdir())
    assert [file.name for file in files] == ["rank00003.jsonl", "rank00003.jsonl.1"]
    assert sum(file.stat().st_size for file in files) <= 20_000
    steps = [json.loads(line)["step"] for file in reversed(files) for line in file.open()]
    assert steps == list(range(steps[0], 500))
