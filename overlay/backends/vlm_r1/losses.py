"""How VLM-R1's per-token losses become one number: the loss types of the field, and rows left out for their length.

TRL has its own; these are the same formulas, so that the flags mean the same in both backends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from overlay.errors import SettingError

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")
SCALES = ("group", "batch", "none")


@dataclass(kw_only=True)
class LossArguments:
    """Flags that TRL has in its own config. For the vlm-r1 backend."""

    loss_type: str = field(default="grpo", metadata={"help": f"How token losses are added up: {', '.join(LOSSES)}."})
    scale_rewards: str = field(
        default="group", metadata={"help": "Advantages are divided by the standard deviation of: group, batch, none."}
    )
    mask_truncated_completions: bool = field(
        default=False, metadata={"help": "Completions cut off at --max_completion_length add nothing to the loss."}
    )

    def __post_init__(self) -> None:
        if self.loss_type not in LOSSES:
            raise SettingError(f"--loss_type {self.loss_type}: unknown in this backend (known: {', '.join(LOSSES)})")
        if self.scale_rewards not in SCALES:
            raise SettingError(f"--scale_rewards {self.scale_rewards} is none of {', '.join(SCALES)}")


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


def rescaled(rewards: torch.Tensor, scale: str) -> torch.Tensor:
    """Advantages (groups, G) of `rewards` (groups, G): centred in the group, divided as `scale` says."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if scale == "none":
        return centred
    spread = rewards.std() if scale == "batch" else rewards.std(1, keepdim=True)
    return centred / (spread + 1e-4)
