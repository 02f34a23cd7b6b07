"""A merged adapter answers as the adapter on its base does."""

import sys

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText

from overlay.model import adapter as merge
from overlay.model.processor import load_processor

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "lm_head"]])
def test_log_probs_are_the_adapters(targets, tiny_model_dir, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    base = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)  # untrained adapters change nothing
    adapted.save_pretrained(tmp_path / "adapter")
    load_processor(str(tiny_model_dir)).save_pretrained(tmp_path / "adapter")
    monkeypatch.setattr(sys, "argv", ["merge", str(tmp_path / "adapter"), str(tmp_path / "merged")])
    assert merge.main() == 0

    ids = torch.arange(5, 45)[None]
    unmerged = PeftModel.from_pretrained(
        AutoModelForImageTextToText.from_pretrained(tiny_model_dir), tmp_path / "adapter"
    )
    plain, merged = (AutoModelForImageTextToText.from_pretrained(f) for f in (tiny_model_dir, tmp_path / "merged"))
    with torch.no_grad():
        expected, actual, before = (model(ids).logits.log_softmax(-1) for model in (unmerged, merged, plain))
    assert (expected - actual).abs().max() < 1e-4
    assert (expected - before).abs().max() > 1e-2
    assert load_processor(str(tmp_path / "merged")).image_processor.size

    assert merge.main() == 2  # not over what is there
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["merge", str(tiny_model_dir), str(tmp_path / "other")])
    assert merge.main() == 2
    assert "no adapter_config.json" in capsys.readouterr().err

    LoraConfig().save_pretrained(tmp_path / "nameless")
    assert merge.main([str(tmp_path / "nameless"), str(tmp_path / "other")]) == 2
    assert "names no base model; give it with --base" in capsys.readouterr().err
