"""A step at the launcher's learning rate changes the weights, or the run is refused."""

import copy
from types import SimpleNamespace

import pytest
import torch
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.errors import SettingError
from overlay.rewards import REWARDS
from overlay.training.precision import check_precision, keeps_masters

RATE = 1e-6


def letters(completions, **columns):
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


def changed(dtype):
    """Share of weights like a model's that one step of AdamW at RATE changes."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 256, dtype=dtype)
    torch.nn.init.normal_(layer.weight, std=0.02)
    before = copy.deepcopy(layer.weight)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=0)
    layer(torch.randn(8, 256, dtype=dtype)).square().mean().backward()
    optimizer.step()
    return (layer.weight != before).float().mean().item()


def test_why_16_bits_are_not_enough():
    assert changed(torch.bfloat16) < 0.2  # only the smallest weights, whose steps are fine enough
    assert changed(torch.float32) > 0.99


def test_16_bit_weights_need_someone_who_keeps_32():
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    with pytest.raises(SettingError, match=r"trainable weights in bfloat16 without DeepSpeed or FSDP.*--dtype float32"):
        check_precision(model, keeps_masters=False)
    check_precision(model, keeps_masters=True)
    check_precision(model.requires_grad_(False), keeps_masters=False)  # under a 32-bit adapter, say


@pytest.mark.parametrize(
    ("deepspeed", "fsdp", "mixed", "keeps"),
    [(True, False, "no", True), (False, True, "bf16", True), (False, True, "no", False), (False, False, "bf16", False)],
)
def test_who_keeps_32_bits(deepspeed, fsdp, mixed, keeps):
    accelerator = SimpleNamespace(mixed_precision=mixed)
    trainer = SimpleNamespace(is_deepspeed_enabled=deepspeed, is_fsdp_enabled=fsdp, accelerator=accelerator)
    assert keeps_masters(trainer) == keeps


@pytest.mark.integration
def test_trl_refuses_or_learns(flags, monkeypatch):
    monkeypatch.setitem(REWARDS, "letters", letters)
    parse = TrlParser(ARGUMENTS).parse_args_and_config
    settings = {"reward_funcs": "letters", "learning_rate": RATE, "max_steps": 1, "save_strategy": "no"}
    with pytest.raises(SettingError, match="trainable weights in bfloat16"):
        train(*parse(args=flags(dtype="bfloat16", **settings)))
    trainer = train(*parse(args=flags(dtype="float32", bf16="true", **settings)))
    before = type(trainer.model).from_pretrained(trainer.model.name_or_path).state_dict()
    learned = [not torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items()]
    assert sum(learned) > len(learned) / 2


@pytest.mark.integration
def test_trl_trains_a_32_bit_adapter_on_16_bit_weights(flags, monkeypatch):
    monkeypatch.setitem(REWARDS, "letters", letters)
    line = flags(
        dtype="bfloat16", bf16="true", use_peft="true", lora_r=4, reward_funcs="letters", learning_rate=RATE,
        max_steps=1, save_strategy="no",
    )  # fmt: skip
    trainer = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    adapter = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in adapter.values()} == {torch.float32}
    assert any(p.any() for name, p in adapter.items() if "lora_B" in name)  # they begin at 0
