"""`make gpu-check` on the shapes of a test."""

import json

import pytest

from benchmarks import gpu_check


def test_a_table_and_a_file(tmp_path, capsys):
    assert gpu_check.main(["--tiny", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "packed against ordinary" in printed
    result = json.loads((tmp_path / "gpu-check.json").read_text())
    assert result["dtype"] == "torch.bfloat16"
    assert result["log_probs_apart"]["packed against ordinary"]["largest"] < 0.01
    passes = result["forward and backward"]
    assert passes["ordinary"]["tokens"] > 2 * passes["packed"]["tokens"]
    assert set(result["generation"]) == {"each prompt anew", "prefilled once"}


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.slow
def test_zero3_on_two_processes(tmp_path, capsys):
    assert gpu_check.main(["--tiny", "--ranks", "2", "--out", str(tmp_path)]) == 0
    assert "ZeRO-3, 2 processes" in capsys.readouterr().out
    found = json.loads((tmp_path / "gpu-check.json").read_text())["zero3"]
    assert found["ranks"] == 2
    assert found["log_probs_apart"]["largest"] < 0.01
    assert 0 <= found["gradients_apart"] < 0.02
    assert found["tokens_per_second"] > 0


def test_a_model_that_is_not_there_is_one_line(tmp_path, capsys):
    assert gpu_check.main(["--model", str(tmp_path / "gone"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("gpu-check: ")
