"""Parts of the trainers' tests: VLM-R1's trainer on the tiny model, and a tiny reward model."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForSequenceClassification

from overlay.dataset import load_dataset
from overlay.demo.chat import CHAT_TEMPLATE
from overlay.demo.run import TASKS
from overlay.examples import PromptStyle, as_rows
from overlay.processor import load_processor


@pytest.fixture
def vlm_r1_trainer(upstream, tiny_model_dir, demo_rows, tmp_path, monkeypatch):
    """Function (rewards, **settings) → our subclass of upstream's trainer on a copy of the tiny model, in fp32, with
    the demo's rows."""
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1.trainer import GRPOConfig, VLMGRPOTrainer
    from open_r1.vlm_modules import Qwen2VLModule

    from overlay.vlm_trainer import extend

    def build(rewards, **settings):
        rows = as_rows(load_dataset(str(demo_rows), str(TASKS / "train"), "gui_action", tmp_path), PromptStyle())
        values = {
            "output_dir": str(tmp_path), "per_device_train_batch_size": 4, "num_generations": 2,
            "max_completion_length": 12, "beta": 0.0,
            "temperature": 1.0, "use_cpu": True, "bf16": False, "report_to": "none",
        } | settings  # fmt: skip
        folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "renamed"))  # no model's name in the path
        return extend(VLMGRPOTrainer)(
            model=str(folder), reward_funcs=rewards, args=GRPOConfig(**values), vlm_module=Qwen2VLModule(),
            train_dataset=rows, attn_implementation="sdpa", torch_dtype="float32", max_pixels=84 * 112, min_pixels=784,
        )  # fmt: skip

    return build


@pytest.fixture
def reward_model(tiny_model_dir, tmp_path):
    """Folder of a tiny reward model with one score."""
    tokenizer = load_processor(str(tiny_model_dir)).tokenizer
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_labels=1, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForSequenceClassification(config).save_pretrained(tmp_path / "reward")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(tmp_path / "reward")
    return tmp_path / "reward"
