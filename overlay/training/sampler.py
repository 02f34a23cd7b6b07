"""Which prompt comes when: groups of copies, in an order that follows from seed and epoch alone.

TRL's and VLM-R1's samplers draw each epoch's order from one generator that goes on from epoch to epoch, so a run that
is resumed in its second epoch gets the first epoch's order again. VLM-R1's also counts prompts that no step is left
for, so that a run ends before its --max_steps, with its schedule half way.
"""

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

from overlay.data.order import Order
from overlay.data.splits import check_enough


class GroupSampler(Sampler[int]):
    """Indices of `data`, a Sized: `prompts` of them at a time, each `copies` times in a row, all of that `repeats`
    times; prompts that do not fill a batch are left out of their epoch. `epoch` is set before each one begins; `own`:
    an order in place of each row once at random."""

    def __init__(
        self,
        data: Sized,
        prompts: int,
        copies: int,
        repeats: int,
        seed: int,
        shuffle: bool = True,
        own: Order | None = None,
    ):
        self.own = own
        self.rows, self.prompts, self.copies, self.repeats = len(data), prompts, copies, repeats
        self.seed, self.shuffle = seed, shuffle
        self.epoch = 0
        check_enough(self.rows, prompts)

    @classmethod
    def like(cls, theirs: Any, own: Order | None = None) -> "GroupSampler":
        """The same groups as a sampler of TRL's or VLM-R1's."""
        return cls(
            theirs.data_source, theirs.batch_size, theirs.mini_repeat_count, theirs.repeat_count, theirs.seed,
            getattr(theirs, "shuffle", True), own,
        )  # fmt: skip

    def __iter__(self) -> Iterator[int]:
        order = self._order(self.epoch)
        yield from (self._index(order, place) for place in range(len(self)))

    def at(self, first: int, count: int) -> list[int]:
        """`count` indices from number `first` on, of all epochs one after the other."""
        epoch, place = divmod(first, len(self))
        order = self._order(epoch)
        return [self._index(order, each) for each in range(place, place + count)]

    def _order(self, epoch: int) -> list[int]:
        if self.own is not None:
            return self.own(epoch, self.rows // self.prompts * self.prompts)
        if not self.shuffle:
            return list(range(self.rows))
        return torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed + epoch)).tolist()

    def _index(self, order: list[int], place: int) -> int:
        batch = self.prompts * self.copies
        number, inside = divmod(place, batch * self.repeats)
        drawn, copy = divmod(inside % batch, self.copies)
        return self._row(order[number * self.prompts + drawn], copy)

    def _row(self, drawn: int, copy: int) -> int:
        """The index of a copy of what was drawn."""
        return drawn

    def __len__(self) -> int:
        return self.rows // self.prompts * self.prompts * self.copies * self.repeats


class EpisodeSampler(GroupSampler):
    """Draws `episodes` (indices of their steps): `slots` steps of each, each step `generations` times in a row. A
    shorter episode's last step stands in the slots that it has no step for. `theirs`: the trainer's own sampler."""

    def __init__(self, theirs: Any, episodes: Sequence[Sequence[int]], slots: int):
        generations = theirs.mini_repeat_count
        super().__init__(
            episodes, theirs.batch_size // slots, slots * generations, theirs.repeat_count, theirs.seed,
            getattr(theirs, "shuffle", True),
        )  # fmt: skip
        self.episodes, self.generations = episodes, generations

    def _row(self, drawn: int, copy: int) -> int:
        steps = self.episodes[drawn]
        return steps[min(copy // self.generations, len(steps) - 1)]


class Epochs(TrainerCallback):
    """Tells a sampler which epoch begins; after a resume `state` is the checkpoint's."""

    def __init__(self, sampler: GroupSampler):
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.sampler.epoch = int(state.epoch or 0)
