"""Where a completion ends: at the first of all end tokens that generation stops at, not only the tokenizer's own."""

from collections.abc import Iterable
from typing import Any

import torch


def end_tokens(configs: Iterable[Any], tokenizer: Any) -> list[int]:
    """Ids that end a completion: those of the generation configs (Qwen2.5-VL's model has two) and the tokenizer's."""
    found = {tokenizer.eos_token_id}
    for config in configs:
        ids = getattr(config, "eos_token_id", None)
        found.update(ids if isinstance(ids, list) else [ids])
    return sorted(token for token in found if token is not None)


def ended(completions: torch.Tensor, ends: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of completion ids (B, C): (mask (B, C) of the tokens up to and with the first end, which completions (B,) have
    none and so were cut off)."""
    is_end = torch.isin(completions, torch.tensor(ends, device=completions.device))
    before = is_end.cumsum(1) - is_end.int()
    return (before == 0).int(), ~is_end.any(1)
