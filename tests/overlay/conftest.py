"""The patched VLM-R1: upstream's tree at the pin with the series applied, unpacked aside so that the work tree of
VLM-R1/ stays as it is; and its trainer."""

import shutil
from pathlib import Path

import pytest

from overlay.dataset import load_dataset
from overlay.demo.run import TASKS
from overlay.examples import PromptStyle, as_rows
from overlay.patching import Refused, Submodule


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    """Folder of upstream's package, patched. Skipped loudly where the submodule cannot be had."""
    folder = tmp_path_factory.mktemp("vlm-r1")
    try:
        Submodule().unpack(folder, "src/open-r1-multimodal")
    except Refused as refused:
        pytest.skip(f"NEEDS VLM-R1: {refused}")
    return folder / "src" / "open-r1-multimodal"


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
