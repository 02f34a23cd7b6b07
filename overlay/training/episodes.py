"""Training on episodes: a batch holds whole rollouts, and each of their steps is an ordinary sample.

The sampler draws episodes. One takes T x G rows of a batch in the order of its steps, T the most steps of an episode
and G its rollouts, and lies on one rank. `play` goes step by step: all rollouts under way are asked at once for the
step that is due, each with its own history, and each is told its answer. What was sampled then goes through the
trainer's own generate-and-score once, which is given these answers in place of sampling: prompts, rewards, reference,
passes, rollouts file and the buffer of a resume are those of any batch. A slot that its rollout did not reach repeats
the rollout's last step; no reward is asked for it, and it has no advantage, no part in the loss and no record. What an
episode is made of is a `World`'s: recorded steps (`overlay.training.semi_online`) or pages (`overlay.training.live`).
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from overlay.data.images import open_images
from overlay.errors import RunStopped
from overlay.training.backend import Answer
from overlay.training.returns import Steps, returns

IN_VAIN = 3  # batches without a rollout that was not lost, after which a run ends
Row = dict[str, Any]  # as the trainers take them, see `overlay.data.examples.as_rows`
Ask = Callable[[list[Row]], tuple[list[Answer], list[str]]]  # rows → completions as ids and as text


class Rollout(Protocol):
    """One rollout of an episode. `right`: of each step that was answered, whether the next one follows from the answer;
    `lost`: why it has no reward, empty when it has."""

    right: list[bool]
    lost: str

    def due(self) -> Row | None:
        """The step to be asked, as a row; None when it is over."""
        ...

    def take(self, completion: str) -> None:
        """The answer to the step that is due."""
        ...

    def done(self) -> float:
        """How much of the task is done, 1 for all."""
        ...


class World(Protocol):
    """Where episodes come from. `handed_on`: the one reward that earlier steps have a part in; None: the total."""

    handed_on: str | None

    def sampler(self, theirs: Any) -> Any:
        """What draws them, like a trainer's own sampler."""
        ...

    def begin(self, rows: list[Row], generations: int) -> list[Rollout]:
        """The rollouts of a rank's rows, those of an episode beside each other."""
        ...

    def advance(self) -> None:
        """All rollouts that were asked have been told their answers."""
        ...

    def foresee(self, rows: list[int], generations: int) -> None:
        """Numbers of the rank's rows of the next batch, each once, which comes after the model was trained on this."""
        ...

    def close(self) -> None:
        """No more episodes."""
        ...


@dataclass
class Played:
    """A rank's batch: of each slot its row, its answer, whether its rollout `reached` it and was `right` there."""

    rows: list[Row]
    answers: list[Answer]
    reached: list[bool]
    right: list[bool]
    rollouts: list[Rollout]


class Episodes:
    """Of one trainer. `options`: TrainerOptions with `scale_rewards`; `gather`: (n, ...) on each rank → all."""

    def __init__(self, world: World, options: Any, generations: int, gather: Callable):
        self.world, self.options, self.gather = world, options, gather
        self.slots, self.generations = options.episode_steps, generations
        self.world_share = 0.0  # of the time that the last batch was played in, of this process
        self.in_vain = 0  # batches, one after the other, of which nothing is left

    def batch(
        self, trainer: Any, rows: list[Row], generate: Callable[..., dict[str, Any]], *model: Any
    ) -> tuple[list[Row], dict[str, Any]]:
        """(rows, what the base's `generate` makes of them) of a trainer's batch of episodes."""

        def ask(due: list[Row]) -> tuple[list[Answer], list[str]]:
            open_images(due, trainer.image_key)
            answers = trainer.answers(due, *model)
            trainer.beat("generated a step")
            ids = [answer.ids for answer in answers]
            return answers, trainer.processing_class.batch_decode(ids, skip_special_tokens=True)

        played = self.play(rows, ask)
        trainer.recorder.reached = played.reached
        with trainer.instead_of_sampling(played.answers):
            result = generate(played.rows, *model)
        rewards = trainer.group_rewards()
        trainer.adjust(result, rewards)
        handed = rewards.flatten()
        if self.world.handed_on is not None:
            handed = self.gather(trainer.recorder.weighted(self.world.handed_on))
        advantages, metrics = self.advantages(played, rewards.flatten(), handed)
        result["advantages"] = trainer.own_part(advantages)
        for name, value in metrics.items():
            trainer.record(name, value)
        trainer.leave_out(result, torch.tensor(played.reached, device=result["advantages"].device))
        return played.rows, result

    def foresee(self, rows: list[int]) -> None:
        """The rank's next batch will be of these rows; none after the last batch."""
        if rows:
            self.world.foresee(rows, self.generations)

    def play(self, rows: list[Row], ask: Ask) -> Played:
        """Play the episodes of a rank's rows. `ask` is called equally often on every rank, with rows."""
        started = time.monotonic()
        rollouts, asked = self.world.begin(rows, self.generations), rows
        in_world = time.monotonic() - started
        taken: list[list[tuple[Row, Answer]]] = [[] for _ in rollouts]
        for slot in range(self.slots):
            due = [(number, row) for number, one in enumerate(rollouts) if (row := one.due()) is not None]
            counts = self.gather(torch.tensor([len(due)]))
            if slot == 0 and not counts.all():
                raise RunStopped(f"a process could begin none of its episodes: {rollouts[0].lost or 'another one'}")
            if not counts.any():
                break
            asked = [row for _, row in due] or asked[:1]
            if len(counts) > 1 and len(asked) == 1:
                asked = asked * 2  # a prefill is shared from two rows on, and under ZeRO-3 ranks must do that alike
            answers, texts = ask(asked)
            for (number, row), own, text in zip(due, answers, texts, strict=False):  # none due: nobody is told
                rollouts[number].take(text)
                taken[number].append((row, own))
            left = time.monotonic()
            self.world.advance()
            in_world += time.monotonic() - left
        self.world_share = in_world / (time.monotonic() - started)
        return self._slotted(rollouts, taken)

    def _slotted(self, rollouts: list[Rollout], taken: list[list[tuple[Row, Answer]]]) -> Played:
        played = Played([], [], [], [], rollouts)
        some = next(steps for steps in taken if steps)
        for first in range(0, len(rollouts), self.generations):
            for slot in range(self.slots):
                for number in range(first, first + self.generations):
                    steps = taken[number]
                    row, answer = (steps or some)[min(slot, len(steps or some) - 1)]
                    played.rows.append(dict(row))
                    played.answers.append(answer)
                    played.reached.append(slot < len(steps))
                    played.right.append(slot < len(steps) and rollouts[number].right[slot])
        return played

    def _states(self, played: Played) -> list[int]:
        """Of each slot: its state, numbered in its episode. Steps with the same `source` were taken in the same one."""
        size, found = self.slots * self.generations, []
        for first in range(0, len(played.rows), size):
            numbers: dict[str, int] = {}
            found += [numbers.setdefault(row["source"], len(numbers)) for row in played.rows[first : first + size]]
        return found

    def advantages(
        self, played: Played, rewards: torch.Tensor, handed: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """(advantages of all ranks' slots (B,), metrics) for their `rewards` (B,) and the part of these that is
        `handed` on (B,), NaN for none, in the same order."""
        about = torch.tensor([played.reached, played.right, self._states(played)]).T.contiguous()
        shape = -1, self.slots, self.generations
        reached, right, states = (part.view(shape) for part in self.gather(about).to(rewards.device).unbind(1))
        options, (rewards, handed) = self.options, (part.view(shape) for part in (rewards, handed))
        steps = Steps(handed, rewards - handed, reached.bool(), right.bool(), states)
        found = steps.advantages(options.episode_discount, options.episode_weight, options.scale_rewards)
        first = returns(handed, steps.right, options.episode_discount)[:, 0]
        return found.flatten(), self._metrics(played, first[~first.isnan()])

    def _metrics(self, played: Played, first: torch.Tensor) -> dict[str, float]:
        """Of all ranks' rollouts: which were lost, and of the others steps, how much was done, whether all was, and
        returns. Says why some were lost."""
        lost = [one.lost for one in played.rollouts]
        if any(lost):
            print(f"{sum(map(bool, lost))} of {len(lost)} rollouts were lost: {max(lost)}", file=sys.stderr)
        local = torch.tensor([
            [math.nan] * 3 if one.lost else [len(one.right), one.done(), one.done() == 1] for one in played.rollouts
        ])  # fmt: skip
        known = self.gather(local.float())
        self.in_vain = self.in_vain + 1 if known[:, 0].isnan().all() else 0
        if self.in_vain == IN_VAIN:
            raise RunStopped(f"all rollouts of {IN_VAIN} batches were lost: {max(lost) or 'on another process'}")
        means = [*known.nanmean(0).nan_to_num().tolist(), known[:, 0].isnan().float().mean().item()]
        named = dict(zip(("steps", "progress", "success", "lost"), means, strict=True))
        return {f"episodes/{name}": value for name, value in named.items()} | {
            "episodes/return": first.mean().item() if len(first) else 0.0,
            "episodes/world_share": self.gather(torch.tensor([self.world_share])).mean().item(),
        }
