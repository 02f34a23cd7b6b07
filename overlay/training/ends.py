"""Where a completion ends: at the first of all end tokens that generation stops at, not only the tokenizer's own."""

from typing import Any

import torch


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a completion: those of the model's generation config (Qwen2.5-VL has two) and the tokenizer's."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def ended(completions: torch.Tensor, ends: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of completion ids (B, C): (mask (B, C) of the tokens up to and with the first end, which completions (B,) have
    none and so were cut off)."""
    is_end = torch.isin(completions, torch.tensor(ends, device=completions.device))
    before = is_end.cumsum(1) - is_end.int()
    return (before == 0).int(), ~is_end.any(1)
