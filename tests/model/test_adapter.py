"""A merged adapter answers as the adapter on its base does."""

import sys

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText

from overlay.model import adapter as merge
from overlay.model.processor import load_processor
from tests import families

pytestmark = pytest.mark.integration
EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]


@pytest.mark.parametrize("family", families.PARTS)
def test_experts_that_an_adapter_leaves_are_named(family):
    """They are one tensor in a layer, which no layer-wise adapter is on; by the names told it is on them too."""
    model = families.make(family)
    sizes = dict.fromkeys(EXPERTS, 0)
    for name, parameter in model.named_parameters():
        for ending in EXPERTS:
            sizes[ending] += parameter.numel() if name.endswith(ending) else 0
    assert merge.without_adapter(model) == {}
    left = merge.without_adapter(get_peft_model(model, LoraConfig(target_modules="all-linear")))
    assert left == ({} if "moe" not in family else sizes)
    if left:
        adapted = LoraConfig(target_modules="all-linear", target_parameters=list(left))
        assert merge.without_adapter(get_peft_model(families.make(family), adapted)) == {}


@pytest.mark.parametrize("family", [name for name in families.PARTS if "moe" in name])
def test_adapted_experts_are_merged(family, tmp_path):
    folder = families.write(family, tmp_path / "base", ["a word"])
    base = AutoModelForImageTextToText.from_pretrained(folder)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], target_parameters=EXPERTS))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    load_processor(str(folder)).save_pretrained(tmp_path / "adapter")
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
        assert merge.main([str(tmp_path / "adapter"), str(tmp_path / "merged")]) == 0
        merged, plain = (
            AutoModelForImageTextToText.from_pretrained(each)(ids).logits for each in (tmp_path / "merged", folder)
        )
    assert (merged - expected).abs().max() < 1e-4
    assert (plain - expected).abs().max() > 1e-3


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
