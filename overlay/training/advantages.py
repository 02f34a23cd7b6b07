"""Advantages of a batch's groups. Formulas as TRL's, completions without a reward apart, doubtful blame made less."""

import torch


def advantages(rewards: torch.Tensor, scale: str) -> torch.Tensor:
    """Advantages (groups, G) of `rewards` (groups, G): centred in the group and divided by the standard deviation of
    the `group` or the whole `batch` plus 1e-4, or by nothing (`none`).

    NaN is no reward: that completion has advantage 0, and neither mean nor deviation knows of it.
    """
    known = ~rewards.isnan()
    counts = known.sum(1, keepdim=True)
    mean = rewards.nansum(1, keepdim=True) / counts.clamp(min=1)
    centred = torch.where(known, rewards - mean, 0.0)
    if scale == "none":
        return centred
    if scale == "batch":
        every = rewards[known]
        return centred / ((every.std() if len(every) > 1 else every.new_zeros(())) + 1e-4)
    return centred / (spread(rewards) + 1e-4)


def spread(rewards: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each group (groups, 1) of `rewards` (groups, G), of those that are there; 0 of one."""
    known = ~rewards.isnan()
    counts = known.sum(1, keepdim=True)
    centred = torch.where(known, rewards - rewards.nansum(1, keepdim=True) / counts.clamp(min=1), 0.0)
    return (centred.square().sum(1, keepdim=True) / (counts - 1).clamp(min=1)).sqrt()


def blame(right: torch.Tensor, least: float) -> torch.Tensor:
    """What each group's negative advantages are multiplied by (groups,): `least` where none of its completions is
    right, 1 where all are, in between by the share that is. `right` (groups, G): 1, 0, or NaN where that is not known;
    a group of which nothing is known keeps its own.

    Where no completion is right, what was done instead may be as right as the one action that was recorded; the more of
    a group find that, the surer are the others wrong (success-adaptive scaling: GUI-Libra, arXiv 2602.22190).

    >>> blame(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), 0.2)
    tensor([0.4000, 0.2000])
    """
    return (least + (1 - least) * right.nanmean(1)).nan_to_num(nan=1.0)
