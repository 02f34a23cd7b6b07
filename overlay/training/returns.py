"""What the steps of an episode's rollouts are worth, and which of them did better than the others.

As in UI-S1 (arXiv 2509.11543; `uis1/core_uis1.py`, https://github.com/X-PLUG/MobileAgent/tree/main/UI-S1): a step's
return is its reward and the discounted return of the next step; a wrong step ends that, for what follows it is not its
doing: its return is its own reward, and none of that goes to the step before. A step's advantage is that of its return
among the rollouts at the same step of the same episode, plus the weighted advantage of its whole rollout (the sum of
its rewards) among the episode's rollouts.
"""

import torch

from overlay.training.advantages import advantages


def returns(rewards: torch.Tensor, right: torch.Tensor, discount: float) -> torch.Tensor:
    """Returns (P, T, G) of the `rewards` (P, T, G) of P episodes, T steps and G rollouts, NaN for none; `right`
    (P, T, G): whether the next step follows from it."""
    found, later = rewards.clone(), torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.size(1))):
        own = rewards[:, step]
        found[:, step] = own + torch.where(right[:, step], discount * later, 0.0)
        later = torch.where(right[:, step] & ~own.isnan(), found[:, step], 0.0)
    return found


def episode_advantages(
    rewards: torch.Tensor, right: torch.Tensor, reached: torch.Tensor, discount: float, weight: float, scale: str
) -> torch.Tensor:
    """Advantages (P, T, G) of P episodes; 0 for steps that were not `reached` (P, T, G) or that have no reward. Sums
    and deviations by --scale_rewards, see `advantages`. A rollout with a missing verdict has no episode advantage."""
    worth = returns(rewards, right, discount)
    of_steps = advantages(worth.flatten(0, 1), scale).view_as(rewards)
    totals = torch.where(reached, rewards, 0.0).sum(1)
    of_rollouts = advantages(totals, scale)[:, None].expand_as(rewards)
    return torch.where(reached & ~rewards.isnan(), of_steps + weight * of_rollouts, 0.0)
