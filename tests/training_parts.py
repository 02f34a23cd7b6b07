"""Parts of the trainers' tests: VLM-R1's trainer on the tiny model, and a command line of the embedded one."""

import json
import shutil

import pytest

from tests.stock import TASKS


@pytest.fixture
def vlm_r1_trainer(upstream, tiny_model_dir, demo_rows, tmp_path, monkeypatch):
    """Function (rewards, **settings) → our subclass of upstream's trainer on a copy of the tiny model, in fp32, with
    the demo's rows; `own`: settings of the subclass; `most`: pixels of an image."""
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1.trainer import GRPOConfig
    from open_r1.vlm_modules import Qwen2VLModule

    from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer
    from overlay.data.dataset import load_dataset
    from overlay.data.examples import as_rows
    from overlay.prompt.style import PromptStyle
    from overlay.settings import VlmTrainerOptions

    def build(rewards, own=None, first=None, judge=None, model_dir=None, peft_config=None, most=84 * 112, **settings):
        data = load_dataset(str(demo_rows), str(TASKS / "train"), "gui_action", tmp_path)
        rows = as_rows(data.select(range(first or len(data))), PromptStyle(), answer_tags=True)
        values = {
            "output_dir": str(tmp_path), "per_device_train_batch_size": 4, "num_generations": 2,
            "max_completion_length": 12, "beta": 0.0,
            "temperature": 1.0, "use_cpu": True, "bf16": False, "report_to": "none",
        } | settings  # fmt: skip
        folder = tmp_path / "renamed"  # no model's name in the path
        if not folder.exists():  # truncating a file that an earlier trainer has mapped takes its weights away
            shutil.copytree(model_dir or tiny_model_dir, folder)
        return GuiVLMGRPOTrainer(
            options=VlmTrainerOptions(**(own or {})), judge=judge, model=str(folder), reward_funcs=rewards,
            args=GRPOConfig(**values), vlm_module=Qwen2VLModule(),
            train_dataset=rows, eval_dataset=rows, peft_config=peft_config,
            attn_implementation="sdpa", torch_dtype="float32", max_pixels=most, min_pixels=784,
        )  # fmt: skip

    return build


@pytest.fixture
def flags(tiny_model_dir, demo_rows, tmp_path):
    """Function: a small run's command line of overlay.backends.trl.train, changed or extended by keywords."""

    def make(**changed):
        values = {
            "model_name_or_path": tiny_model_dir, "data_file_paths": demo_rows, "image_folders": TASKS / "train",
            "arrow_cache_dir": tmp_path / "arrow", "reward_method": "gui_action", "task_type": "gui",
            "max_pixels": 84 * 112, "output_dir": tmp_path / "run", "per_device_train_batch_size": 4,
            "num_generations": 2, "max_completion_length": 8, "max_steps": 4, "learning_rate": 1e-3,
            "reward_funcs": ["accuracy", "format"],
            "logging_steps": 1, "gradient_checkpointing": "false", "report_to": "none", "use_cpu": "true",
            "bf16": "false",
        } | changed  # fmt: skip
        return [
            part
            for name, value in values.items()
            if value is not None
            for part in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
        ]

    return make


@pytest.fixture(scope="session")
def mixed_rows(demo_rows, tmp_path_factory):
    """Rows with two images, one and none in turn."""
    rows = [json.loads(line) for line in demo_rows.open(encoding="utf-8")]
    two, one = (iter([row for row in rows if len(row["image"]) == count]) for count in (2, 1))
    out = tmp_path_factory.mktemp("mixed") / "rows.jsonl"
    with open(out, "w", encoding="utf-8") as file:
        for number in range(24):
            row = next(two if number % 3 == 0 else one)
            if number % 3 == 2:
                row["conversations"][0]["value"] = row["conversations"][0]["value"].replace("<image>", "")
                row["image"] = []
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return out
