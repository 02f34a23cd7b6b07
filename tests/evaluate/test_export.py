"""A run's folder: its card, and what is exported from it."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from overlay.backends.trl.train import main as train
from overlay.evaluate import export
from overlay.evaluate.identity import weights_digest
from overlay.prompt.style_file import read_style
from tests.stock import TASKS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def make_flags(tiny_model_dir, demo_rows, tmp_path_factory):
    def make(name, **changed):
        out = tmp_path_factory.mktemp(name)
        values = {
            "model_name_or_path": tiny_model_dir, "data_file_paths": demo_rows, "image_folders": TASKS / "train",
            "arrow_cache_dir": out / "arrow", "reward_method": "gui_action", "task_type": "gui", "max_pixels": 84 * 112,
            "output_dir": out / "run", "per_device_train_batch_size": 2, "num_generations": 2,
            "max_completion_length": 4, "max_steps": 2, "learning_rate": 1e-2,
            "reward_funcs": ["accuracy", "format"], "logging_steps": 1,
            "gradient_checkpointing": "false", "report_to": "none", "use_cpu": "true", "bf16": "false",
            "save_steps": 1,
            "val_split_ratio": 0.01, "eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 2,
        } | changed  # fmt: skip
        line = [
            part for flag, value in values.items() if value is not None
            for part in (f"--{flag}", *map(str, value if isinstance(value, list) else [value]))
        ]  # fmt: skip
        assert train(line) == 0
        return out / "run"

    return make


@pytest.fixture(scope="module")
def run(make_flags):
    return make_flags("whole")


def test_the_card_says_what_the_files_say(run, demo_rows, tiny_model_dir):
    for folder in (run, run / "checkpoint-1"):
        card = ModelCard((folder / "README.md").read_text())  # the hub's own reader
        assert card.data.pipeline_tag == "image-text-to-text"
        assert card.data.base_model is None  # a folder is no name of the hub
        assert card.data.tags == ["gui", "grpo", "qwen2_5_vl"]
    text = (run / "README.md").read_text()
    record = json.loads((run / "run.json").read_text())
    assert f"- {demo_rows.name}, sha256 {record['settings']['data'][0]}..." in text
    assert record["rows"] == {"trained on": 298, "held out": 4}
    assert "298 rows trained on, 4 rows held out" in text
    assert "2 steps, mean reward" in text
    assert "| reward_funcs | accuracy, format |" in text
    assert "| learning_rate | 0.01 |" in text
    assert "sampled answers at step 2 (rule `box`, 4 held-out rows)" in text
    assert re.search(r"\| step_success_rate \| [01]\.\d{3} \|", text)
    assert "of 3,136 to 9,408 pixels; coordinates are pixels of the image as the processor resizes it" in text
    assert read_style(run).template.strip() in text
    assert "1 steps" in (run / "checkpoint-1" / "README.md").read_text()
    assert "trl" not in card.data.tags  # TRL's own card is not written


def weights(folder):
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return found


def test_a_whole_run_is_exported_as_it_is(run, tmp_path):
    assert export.main([str(run), str(tmp_path / "out")]) == 0
    before, after = (AutoModelForImageTextToText.from_pretrained(folder) for folder in (run, tmp_path / "out"))
    assert all(torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True))
    assert read_style(tmp_path / "out") == read_style(run)
    processors = [AutoProcessor.from_pretrained(folder) for folder in (run, tmp_path / "out")]
    assert processors[0].chat_template == processors[1].chat_template
    assert processors[0].image_processor.size == processors[1].image_processor.size
    assert "# out\n" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "run.json").exists()
    assert export.main([str(run), str(tmp_path / "half"), "--dtype", "bfloat16"]) == 0
    assert {tensor.dtype for tensor in weights(tmp_path / "half").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


def test_an_adapter_is_merged(make_flags, tmp_path):
    adapter = make_flags(
        "adapter",
        use_peft="true",
        lora_r=4,
        eval_strategy="no",
        val_split_ratio=0,
        eval_steps=None,
        per_device_eval_batch_size=None,
    )
    assert "a LoRA adapter (rank 4) of" in (adapter / "README.md").read_text()
    assert ModelCard((adapter / "README.md").read_text()).data.library_name == "peft"
    assert export.main([str(adapter), str(tmp_path / "out")]) == 0
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    wanted = export.merge(adapter)
    assert all(torch.equal(one, other) for one, other in zip(merged.parameters(), wanted.parameters(), strict=True))
    text = (tmp_path / "out" / "README.md").read_text()
    assert "an adapter (rank 4), merged into" in text
    assert ModelCard(text).data.library_name == "transformers"


def test_scores_of_these_weights_only(run, tmp_path, capsys):
    score = {
        "about": {"weights": weights_digest(run), "date": "2026-01-02",
                  "data": [{"file": "a/held.jsonl", "sha256": "f" * 64}]},
        "rows": 7, "tasks": 3, "rule": "box",
        "metrics": {"step_success_rate": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 7}},
    }  # fmt: skip
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "metrics.json").write_text(json.dumps(score))
    assert export.main([str(run), str(tmp_path / "out"), "--scores", str(tmp_path / "eval")]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "held.jsonl (ffffffffffffffff...), 7 rows of 3 tasks, rule `box`" in text
    assert "| step_success_rate | 0.250 | 0.100 to 0.400 | 7 |" in text
    score["about"]["weights"] = "another"
    (tmp_path / "eval" / "metrics.json").write_text(json.dumps(score))
    assert export.main([str(run), str(tmp_path / "more"), "--scores", str(tmp_path / "eval")]) == 2
    assert "of weights another, this run has" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("more*"))


def test_refused_in_one_line(run, tmp_path, copy_of, capsys):
    broken = copy_of(run, "broken")
    model = AutoModelForImageTextToText.from_pretrained(run)
    next(model.parameters()).data[0] = float("nan")
    model.save_pretrained(broken)
    styleless = copy_of(run, "styleless")
    (styleless / "prompt_style.json").unlink()
    for folder, told in (
        (tmp_path / "none", "no such folder (RUN=)"), (styleless, "no prompt_style.json"),
        (broken, "holds what is no number"),
    ):  # fmt: skip
        assert export.main([str(folder), str(tmp_path / "out")]) == 2
        assert told in capsys.readouterr().err.splitlines()[-1]
        assert not list(tmp_path.glob("out*"))
    assert export.main([str(run), str(styleless)]) == 2
    assert "is there already" in capsys.readouterr().err
