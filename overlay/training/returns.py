"""What the steps of an episode's rollouts are worth, and which of them did better than the others.

As in UI-S1 (arXiv 2509.11543; `uis1/core_uis1.py`, https://github.com/X-PLUG/MobileAgent/tree/main/UI-S1): a step's
return is its reward and the discounted return of the next step; a wrong step ends that, for what follows it is not its
doing: its return is its own reward, and none of that goes to the step before. A step's advantage is that of its return
among the steps of the episode's rollouts that were taken in the same state (a recorded step, or the same screen: the
anchor states of GiGPO, arXiv 2505.10978), plus the weighted advantage of its whole rollout (the sum of its rewards)
among the episode's rollouts. Rewards that are a step's alone (the format, where a page judges) are in neither sum.
"""

from dataclasses import dataclass

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


def in_states(worth: torch.Tensor, states: torch.Tensor, scale: str) -> torch.Tensor:
    """Advantages (P, T, G) of `worth` (P, T, G) among the steps of one episode in the same of its `states` (P, T, G);
    NaN is no worth."""
    flat, keys = worth.flatten(1), states.flatten(1)
    groups, members = [], []
    for episode in range(len(flat)):
        for key in keys[episode].unique():
            own = keys[episode] == key
            members.append((episode, own))
            groups.append(torch.where(own, flat[episode], float("nan")))
    found = torch.zeros_like(flat)
    for (episode, own), values in zip(members, advantages(torch.stack(groups), scale), strict=True):
        found[episode, own] = values[own]
    return found.view_as(worth)


@dataclass
class Steps:
    """The steps of P episodes' rollouts, each (P, T, G). `handed`: rewards that are handed on to earlier steps,
    `alone`: those that are not, NaN for none; `reached`: that there was such a step; `right`: that the next one
    follows from it; `states`: numbers of states, the episode's own."""

    handed: torch.Tensor
    alone: torch.Tensor
    reached: torch.Tensor
    right: torch.Tensor
    states: torch.Tensor

    def advantages(self, discount: float, weight: float, scale: str) -> torch.Tensor:
        """Advantages (P, T, G), 0 for steps that were not reached or have no reward. A rollout without steps, or with
        one that has no reward, has no part in its episode's. `scale`: see `overlay.training.advantages`."""
        worth = returns(self.handed, self.right, discount) + self.alone
        totals = torch.where(self.reached, self.handed, 0.0).sum(1)
        totals = torch.where(self.reached.any(1), totals, float("nan"))
        of_rollouts = advantages(totals, scale)[:, None].expand_as(worth)
        known = self.reached & ~worth.isnan()
        return torch.where(known, in_states(worth, self.states, scale) + weight * of_rollouts, 0.0)
