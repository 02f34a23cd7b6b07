"""Two ranks that go on in the middle of a batch, in the second epoch: both backends, plain data parallelism and ZeRO-3.

Accumulation, several iterations of a batch, groups across the ranks, and (in TRL) new prompts drawn for dull groups.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from overlay.training import log_file
from tests.stock import ROOT, TASKS, ZERO3, stock_command
from tests.training.test_long_runs import ROWS, rollouts

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RANKS = 2
SETTINGS = {
    "max_steps": None, "num_train_epochs": 2, "num_iterations": 2, "gradient_accumulation_steps": 2, "beta": 0.04,
    "per_device_train_batch_size": 1, "num_generations": 2, "save_steps": 1, "logging_steps": 1, "temperature": 0.7,
    "dataloader_num_workers": 1, "max_completion_length": 8, "learning_rate": 1e-3, "dynamic_sampling": 1,
    "save_total_limit": 12,
}  # fmt: skip


@pytest.fixture(params=["trl", "vlm-r1"])
def start(request, forks, flags, upstream, tiny_model_dir, demo_rows, reward_model, tmp_path):
    """Function (folder, **settings): run both ranks of one backend to their end."""
    # Two of the rows are in a file of their own that comes as often as the other, and rows come by difficulty.
    lines = [
        json.dumps(json.loads(line) | {"difficulty": n / ROWS})
        for n, line in enumerate(demo_rows.open(encoding="utf-8").readlines()[:ROWS])
    ]
    files = tmp_path / "rows.jsonl", tmp_path / "more.jsonl"
    for file, part in zip(files, (lines[:-2], lines[-2:]), strict=True):
        file.write_text("\n".join(part) + "\n", encoding="utf-8")
    rows = ":".join(map(str, files))
    mixed = {"data_weights": "1:1", "curriculum_epochs": 2, "image_folders": f"{TASKS / 'train'}:{TASKS / 'train'}"}
    mixed |= {"reward_method": "gui_action:gui_action"}

    def run(folder, deepspeed):
        settings = SETTINGS | mixed | {"reward_funcs": reward_model, "deepspeed": deepspeed}
        log, cpu = folder.with_suffix(".log"), deepspeed is None
        if request.param == "trl":
            own = {"output_dir": folder, "data_file_paths": rows, "use_cpu": "true" if cpu else None}
            command = ["-m", "overlay.backends.trl.train", *flags(**own | settings)]
            ended = forks.run(command, log, RANKS, variables={"PYTHONPATH": f"{ROOT}/tests/gloo:{ROOT}"})
        else:
            given = {name: value for name, value in settings.items() if value is not None} | {"max_steps": -1}
            command, variables = stock_command(upstream, tiny_model_dir, rows, folder, cpu, **given)
            ended = forks.run(command, log, RANKS, variables=variables, folder=upstream)
        assert ended.statuses == [0] * RANKS, ended.err[-4000:]

    return run


def steps(folder):
    return {
        entry["step"]: (entry["loss"], entry["grad_norm"], entry["kl"])
        for entry in log_file.read(folder)
        if "loss" in entry
    }


@pytest.mark.parametrize(
    "zero3", [pytest.param(False, id="ddp", marks=pytest.mark.long), pytest.param(True, id="zero3")]
)
def test_rows_completions_losses_and_weights_are_the_same(start, zero3, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    whole, half = tmp_path / "whole", tmp_path / "half"
    start(whole, config if zero3 else None)
    last = max(steps(whole))
    stopped = last // 2 + 1 + last // 2 % 2  # odd, and past the first epoch
    assert stopped % 2 == 1
    shutil.copytree(whole / f"checkpoint-{stopped}", half / f"checkpoint-{stopped}")
    start(half, config if zero3 else None)
    expected = {step: figures for step, figures in steps(whole).items() if step > stopped}
    assert list(steps(half)) == list(expected)
    assert len(expected) >= 3
    for step, figures in expected.items():
        assert steps(half)[step] == pytest.approx(figures, abs=1e-6), step
    for rank in range(RANKS):
        after = [line for line in rollouts(whole, rank) if line[0] >= stopped]
        assert after
        assert rollouts(half, rank) == after
    weights, again, before = (
        load_file(folder / "model.safetensors") for folder in (whole, half, whole / f"checkpoint-{stopped}")
    )
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights.items())
    apart = max((again[name] - tensor).abs().max().item() for name, tensor in weights.items())
    print(f"\n{last} steps, gone on from {stopped}: weights apart by {apart:.1e}")
    assert apart < 1e-6
