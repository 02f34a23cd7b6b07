"""Training on episodes: a batch holds whole rollouts, and each of their steps is an ordinary sample.

The sampler draws episodes. One takes T x G rows of a batch in the order of its steps, T the most steps of an episode
and G its rollouts, and lies on one rank. `play` goes step by step: all rollouts under way are asked at once for the
step that is due, each with its own history, and each is told its answer. What was sampled then goes through the
trainer's own generate-and-score once, which is given these answers in place of sampling: prompts, rewards, reference,
passes, rollouts file and the buffer of a resume are those of any batch. A slot that its rollout did not reach repeats
the rollout's last step; no reward is asked for it, and it has no advantage, no part in the loss and no record. What an
episode is made of is a `World`'s: recorded steps (`overlay.training.semi_online`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from overlay.data.images import open_images
from overlay.metrics.episodes import progress
from overlay.training.returns import episode_advantages, returns

Row = dict[str, Any]  # as the trainers take them, see `overlay.data.examples.as_rows`
Ask = Callable[[list[Row]], tuple[list[list[int]], list[str]]]  # rows → completions as ids and as text


class Rollout(Protocol):
    """One rollout of an episode. `length`: steps that it takes; `right`: of each step that was answered, whether the
    next one follows from the answer."""

    length: int
    right: list[bool]

    def due(self) -> Row | None:
        """The step to be asked, as a row; None when it is over."""
        ...

    def take(self, completion: str) -> None:
        """The answer to the step that is due."""
        ...


class World(Protocol):
    """Where episodes come from."""

    def sampler(self, theirs: Any) -> Any:
        """What draws them, like a trainer's own sampler."""
        ...

    def begin(self, rows: list[Row], generations: int) -> list[Rollout]:
        """The rollouts of a rank's rows, those of an episode beside each other."""
        ...


@dataclass
class Played:
    """A rank's batch: of each slot its row, completion as ids, whether its rollout `reached` it and was `right`
    there."""

    rows: list[Row]
    ids: list[list[int]]
    reached: list[bool]
    right: list[bool]
    rollouts: list[Rollout]


class Episodes:
    """Of one trainer. `options`: TrainerOptions with `scale_rewards`; `gather`: (n, ...) on each rank → all."""

    def __init__(self, world: World, options: Any, generations: int, gather: Callable):
        self.world, self.options, self.gather = world, options, gather
        self.slots, self.generations = options.episode_steps, generations

    def batch(
        self, trainer: Any, rows: list[Row], generate: Callable[..., dict[str, Any]], *model: Any
    ) -> tuple[list[Row], dict[str, Any]]:
        """(rows, what the base's `generate` makes of them) of a trainer's batch of episodes."""

        def ask(due: list[Row]) -> tuple[list[list[int]], list[str]]:
            open_images(due, trainer.image_key)
            ids = trainer.answers(due, *model)
            trainer.beat("generated a step")
            return ids, trainer.processing_class.batch_decode(ids, skip_special_tokens=True)

        played = self.play(rows, ask)
        trainer.recorder.reached = played.reached
        with trainer.instead_of_sampling(played.ids):
            result = generate(played.rows, *model)
        rewards = trainer.group_rewards()
        trainer.adjust(result, rewards)
        advantages, metrics = self.advantages(played, rewards.flatten())
        result["advantages"] = trainer.own_part(advantages)
        for name, value in metrics.items():
            trainer.record(name, value)
        trainer.leave_out(result, torch.tensor(played.reached, device=result["advantages"].device))
        return played.rows, result

    def play(self, rows: list[Row], ask: Ask) -> Played:
        """Play the episodes of a rank's rows. `ask` is called equally often on every rank, with rows."""
        rollouts = self.world.begin(rows, self.generations)
        taken: list[list[tuple[Row, list[int]]]] = [[] for _ in rollouts]
        for _ in range(self.slots):
            due = [(number, row) for number, one in enumerate(rollouts) if (row := one.due()) is not None]
            if not self.gather(torch.tensor([len(due)])).any():
                break
            ids, texts = ask([row for _, row in due] or rows[:1])
            for (number, row), own, text in zip(due, ids, texts, strict=False):  # none due: nobody is told
                rollouts[number].take(text)
                taken[number].append((row, own))
        return self._slotted(rollouts, taken)

    def _slotted(self, rollouts: list[Rollout], taken: list[list[tuple[Row, list[int]]]]) -> Played:
        played = Played([], [], [], [], rollouts)
        for first in range(0, len(rollouts), self.generations):
            for slot in range(self.slots):
                for number in range(first, first + self.generations):
                    steps = taken[number]
                    row, ids = steps[min(slot, len(steps) - 1)]
                    played.rows.append(dict(row))
                    played.ids.append(ids)
                    played.reached.append(slot < len(steps))
                    played.right.append(slot < len(steps) and rollouts[number].right[slot])
        return played

    def advantages(self, played: Played, rewards: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """(advantages of all ranks' slots (B,), metrics) for their `rewards` (B,), NaN for none, in the same order."""
        shape = -1, self.slots, self.generations
        flags = torch.tensor([played.reached, played.right]).T.contiguous()
        reached, right = (part.view(shape) for part in self.gather(flags).to(rewards.device).unbind(1))
        rewards = rewards.view(shape)
        options, scale = self.options, self.options.scale_rewards
        found = episode_advantages(
            rewards, right, reached, options.episode_discount, options.episode_weight, scale
        ).flatten()
        first = returns(rewards, right, options.episode_discount)[:, 0]
        return found, self._metrics(played, first[~first.isnan()])

    def _metrics(self, played: Played, first: torch.Tensor) -> dict[str, float]:
        """Of all ranks' rollouts: steps, how much went right before the first miss, whether all did, and returns."""
        verdicts = [[*one.right, *[False] * (one.length - len(one.right))] for one in played.rollouts]
        shares = progress(verdicts)
        steps = [len(one.right) for one in played.rollouts]
        local = torch.tensor([[count, share, share == 1] for count, share in zip(steps, shares, strict=True)])
        means = self.gather(local.float()).mean(0).tolist()
        named = dict(zip(("steps", "progress", "success"), means, strict=True))
        return {f"episodes/{name}": value for name, value in named.items()} | {
            "episodes/return": first.mean().item() if len(first) else 0.0
        }
