"""The stock script, killed and started again with the same command, goes on as if nothing had been."""

import shutil

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.stock import run_stock

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def losses(log, after):
    return [(entry["step"], entry["loss"]) for entry in log if "loss" in entry and entry["step"] > after]


@pytest.mark.parametrize("num_iterations", [1, 2])
def test_losses_and_weights_equal_an_uninterrupted_runs(upstream, tiny_model_dir, demo_rows, tmp_path, num_iterations):
    settings = {
        "processes": 1, "max_steps": 4, "save_steps": 2, "reward_funcs": ["length", "format_graded"], "beta": 0.04,
        "num_iterations": num_iterations,
    }  # fmt: skip
    whole = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "whole", **settings)
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "half" / "checkpoint-2")
    resumed = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "half", **settings)
    assert len(losses(whole, 2)) == 2
    assert any(loss for _, loss in losses(whole, 0))  # the rewards teach something
    assert losses(resumed, 2) == losses(whole, 2)
    first, second = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "half"))
    for name, tensor in first.items():
        assert_close(second[name], tensor, msg=name)
