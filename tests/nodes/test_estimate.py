"""`make estimate`: the launcher's own settings, and figures that a run then has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from overlay.backends.trl.train import main as train
from overlay.model.cost import Cluster
from overlay.nodes import estimate
from overlay.nodes.planned import read
from tests import families
from tests.presets import config_folder
from tests.stock import ROOT, TASKS

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.integration
def test_steps_checkpoints_and_weights_are_those_of_the_run(flags, tmp_path):
    wanted = {
        "max_steps": -1, "num_train_epochs": 0.1, "save_steps": 8, "per_device_train_batch_size": 8, "beta": 0.0,
    }  # fmt: skip
    line = flags(**wanted)
    run = read(line, nodes=1, processes=1)
    assert train(line) == 0
    state = json.loads((tmp_path / "run" / "checkpoint-8" / "trainer_state.json").read_text())
    assert run.steps == state["max_steps"] == 8  # a tenth of 75 is rounded up; 302 rows, four prompts a step
    checkpoint = tmp_path / "run" / "checkpoint-8"
    large = sum((checkpoint / name).stat().st_size for name in ("model.safetensors", "optimizer.pt"))
    assert run.checkpoint == pytest.approx(large, rel=0.05)  # the rest does not grow with the model
    found = estimate.estimate(run, Cluster(), 80e9)
    assert found["fits"]
    assert found["disk"]["checkpoints"] == 1


@pytest.mark.integration
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_prompts_are_counted_once_where_training_shares_them(family, flags, tmp_path):
    run = read(flags(model_name_or_path=families.write(family, tmp_path / family, ["a word"])), nodes=1, processes=1)
    assert run.step.shared == (family in families.FAMILIES)
    assert run.step.prompts == (2 if run.step.shared else run.step.batch)


@pytest.mark.integration
def test_the_launcher_estimates_what_it_would_start(tiny_model_dir, demo_rows):
    values = {
        "ESTIMATE": "1", "BACKEND": "trl", "MODEL": str(tiny_model_dir), "DATA": str(demo_rows), "PATH": PATH,
        "IMAGES": str(TASKS / "train"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "NNODES": "5",
        "NPROC_PER_NODE": "8", "EPOCHS": "1",
    }  # fmt: skip
    script = str(ROOT / "run_scripts" / "run_grpo_gui.sh")
    done = subprocess.run(
        ["bash", script, "--beta", "0"], capture_output=True, text=True, check=False, env=os.environ | values
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "40 prompts (5 x 8 processes x batch 8 x 1 / 8 completions)" in said
    assert "steps              7, 2,240 completions in all" in said
    assert "reference                     0.0 GB" in said
    assert "prompts of 486 tokens, the longest 591 (from 302 rows)" in said


@pytest.mark.parametrize(
    ("variables", "changed", "message"),
    [
        ({"GPU_MEMORY": "much"}, {}, "GPU_MEMORY=much: not a number of GB"),
        ({"GPU_CHECK": "none.json"}, {}, "none.json: No such file or directory"),
        ({}, {"beta": "little"}, "--beta little: not a number"),
        ({}, {"per_device_train_batch_size": 2.5}, "--per_device_train_batch_size 2.5: a whole number of at least 1"),
        ({}, {"history_screens": 9}, "--history_screens 9: a number from 0 to 8"),
        ({}, {"answer_format": "xml"}, "--answer_format 'xml' is none of answer_tag, tool_call"),
        ({}, {"max_prompt_length": 5}, "no prompt is within --max_prompt_length 5"),
        ({}, {"per_device_train_batch_size": 1000}, "302 training rows, but one step takes 500 prompts"),
        ({}, {"model_name_or_path": "./gone"}, "--model_name_or_path ./gone: no such folder"),
    ],
)
def test_refused_in_one_line(variables, changed, message, flags, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert estimate.main(["--", *flags(**changed)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"estimate: {message}")


def test_too_large_is_status_1(flags, monkeypatch, capsys):
    monkeypatch.setenv("GPU_MEMORY", "0.001")
    assert estimate.main(["--", *flags()]) == 1
    assert "DOES NOT FIT" in capsys.readouterr().out


def test_changes_that_make_it_fit(tmp_path):
    data, images = tmp_path / "rows.jsonl", tmp_path
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "1"}]
    data.write_text("".join(json.dumps({"id": n, "conversations": turns}) + "\n" for n in range(64)))
    line = [
        "--model_name_or_path", str(config_folder("7B", tmp_path)), "--data_file_paths", str(data), "--image_folders",
        str(images), "--arrow_cache_dir", str(tmp_path / "arrow"), "--max_prompt_length", "4096", "--deepspeed", "z",
        "--beta", "0.04", "--freeze_vision_modules", "true", "--gradient_checkpointing", "true", "--bf16",
    ]  # fmt: skip
    run = read(line, nodes=1, processes=1)
    assert run.lengths.startswith("the budget, for --model_name_or_path")
    found = estimate.estimate(run, Cluster(), 80e9)
    assert not found["fits"]
    words = [words for words, _ in found["would_fit"]]
    assert "8 GPUs" in words
    assert "LORA_R=16" in words
    assert "2 GPUs" not in words
    assert all(size <= 80e9 for _, size in found["would_fit"])
    assert "would fit: LORA_R=16" in estimate.table(found, run, "")
