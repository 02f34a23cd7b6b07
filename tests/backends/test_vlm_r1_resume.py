"""The stock script, killed and started again with the same command, goes on as if nothing had been."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoModelForImageTextToText

from tests.stock import ZERO3, run_stock

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def losses(log, after):
    return [(entry["step"], entry["loss"]) for entry in log if "loss" in entry and entry["step"] > after]


@pytest.mark.parametrize("num_iterations", [1, 2])
def test_losses_and_weights_equal_an_uninterrupted_runs(
    upstream, forks, tiny_model_dir, demo_rows, tmp_path, num_iterations
):
    settings = {
        "processes": 1, "max_steps": 4, "save_steps": 2, "reward_funcs": ["length", "format_graded"], "beta": 0.04,
        "num_iterations": num_iterations,
    }  # fmt: skip
    whole = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "whole", forks=forks, **settings)
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "half" / "checkpoint-2")
    resumed = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "half", forks=forks, **settings)
    assert len(losses(whole, 2)) == 2
    assert any(loss for _, loss in losses(whole, 0))  # the rewards teach something
    assert losses(resumed, 2) == losses(whole, 2)
    first, second = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "half"))
    for name, tensor in first.items():
        assert_close(second[name], tensor, msg=name)


def test_zero3_with_a_synced_reference_goes_on_alike(upstream, forks, tiny_model_dir, demo_rows, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    settings = {
        "cpu": False, "deepspeed": config, "max_steps": 4, "save_steps": 2, "reward_funcs": ["length", "format_graded"],
        "beta": 0.04, "sync_ref_model": "true", "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.5,
        "per_device_train_batch_size": 2,
    }  # fmt: skip
    whole = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "whole", forks=forks, **settings)
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "half" / "checkpoint-2")
    resumed = run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "half", forks=forks, **settings)
    kl = [[entry["kl"] for entry in log if "kl" in entry and entry["step"] > 2] for log in (whole, resumed)]
    assert kl[0] == pytest.approx(kl[1], abs=1e-7)
    assert all(value > 0 for value in kl[0])
    for (_, first), (_, second) in zip(losses(whole, 2), losses(resumed, 2), strict=True):
        assert second == pytest.approx(first, abs=1e-6)
    # The reference followed the policy: it is neither the base model nor the policy.
    reference = torch.load(tmp_path / "half" / "checkpoint-4" / "reference.pt")
    base = AutoModelForImageTextToText.from_pretrained(tiny_model_dir).state_dict()
    policy = AutoModelForImageTextToText.from_pretrained(tmp_path / "half").state_dict()
    moved = [name for name in base if not torch.equal(reference[name], base[name])]
    assert moved
    assert not torch.equal(reference[moved[0]], policy[moved[0]])
