"""How large a model is, from its config alone: nothing of its weights is read or made."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from overlay.model.folder import config_of
from overlay.model.packing import why_not
from overlay.model.vision import VISION


@dataclass(frozen=True)
class Sizes:
    """Parameters in all (`total`), of the vision tower, of those that a token passes (`active`: all, but of experts
    those that are asked), of an adapter of rank 1 on every linear layer outside the tower. Widths of a text layer.
    `packs`: whether a group's prompt is computed once."""

    total: int
    vision: int
    active: int
    adapter: int
    hidden: int
    layers: int
    kv: int
    intermediate: int
    vocabulary: int
    packs: bool = True

    def trainable(self, frozen_vision: bool, lora_r: int = 0) -> int:
        """Parameters that training changes."""
        return lora_r * self.adapter if lora_r else self.total - frozen_vision * self.vision


def sizes_of(model: str) -> Sizes:
    """The sizes of a model folder or hub name. SettingError when there is no such model."""
    config_of(model)
    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    with torch.device("meta"):
        made = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    named = dict(made.named_parameters())  # a tied output layer once
    experts = sum(p.numel() for name, p in named.items() if ".experts." in name)
    beside = getattr(text, "shared_expert_intermediate_size", None) or 0
    asked, there = getattr(text, "num_experts_per_tok", 1), getattr(text, "num_experts", None) or 1
    return Sizes(
        total=sum(p.numel() for p in named.values()),
        vision=sum(p.numel() for name, p in named.items() if _in_tower(name)),
        active=sum(p.numel() for p in named.values()) - round(experts * (1 - asked / there)),
        adapter=sum(sum(module.weight.shape) for _, module in _adapted(made)),
        hidden=text.hidden_size, layers=text.num_hidden_layers, kv=head * text.num_key_value_heads,
        intermediate=asked * text.moe_intermediate_size + beside if experts else text.intermediate_size,
        vocabulary=text.vocab_size, packs=why_not(made) is None,
    )  # fmt: skip


def _in_tower(name: str) -> bool:
    return VISION in name.split(".")


def _adapted(model: Any) -> list[tuple[str, torch.nn.Linear]]:
    """The layers that an adapter is on by default: linear, outside the tower, not the output layer."""
    output = model.get_output_embeddings()
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and not _in_tower(name)
    ]
