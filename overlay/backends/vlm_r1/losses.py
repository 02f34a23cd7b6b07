"""How VLM-R1's per-token losses become one number: the loss types of the field, and rows left out for their length.

TRL has its own; these are the same formulas, so that the flags mean the same in both backends.
"""

from collections.abc import Callable

import torch


def reduce_loss(
    losses: torch.Tensor, mask: torch.Tensor, kind: str, longest: int, mean_over_ranks: Callable
) -> torch.Tensor:
    """One loss of token losses (B, C) under `mask` (B, C), before any division by accumulation steps.

    grpo: mean over each completion, then over them. bnpo: mean over this rank's tokens. dr_grpo: sum over B times
    `longest`, the same divisor for every batch (arXiv 2503.20783). dapo: mean over the tokens of all ranks, of whose
    counts `mean_over_ranks` gives the mean (arXiv 2503.14476).
    """
    losses = losses * mask
    if kind == "grpo":
        return (losses.sum(1) / mask.sum(1).clamp(min=1)).mean()
    if kind == "dr_grpo":
        return losses.sum() / (losses.size(0) * longest)
    tokens = mask.sum()
    if kind == "dapo":
        tokens = mean_over_ranks(tokens.float())
    return losses.sum() / tokens.clamp(min=1)
