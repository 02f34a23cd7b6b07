"""What an evaluation's sampled answers got right, over all its rows: sums of its batches, not means of their means."""

from collections.abc import Callable
from typing import Any

import torch

from overlay.action.action import parse_action
from overlay.metrics.flags import measure
from overlay.metrics.rules.step import screen_of


def not_repeated(gradient: Any, first: int, count: int) -> int:
    """How many of a rank's `count` rows, of which the `first` has that number in the whole batch, are no repetitions:
    accelerate fills the last batch of all ranks with rows from the beginning (`gradient`: its GradientState)."""
    if not gradient.end_of_dataloader or gradient.remainder <= 0:
        return count
    return min(count, max(0, gradient.remainder - first))


class Rates:
    """Rates of one evaluation, rule `box`. `gather`: (1, metrics, 2) on each rank → (ranks, metrics, 2)."""

    def __init__(self, gather: Callable[[torch.Tensor], torch.Tensor]):
        self.gather = gather
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, records: list[dict[str, Any]]) -> None:
        """Completions of one batch, over the rows whose gold is an action; on every rank."""
        scored = [record for record in records if parse_action(record["solution"] or "") is not None]
        texts, golds = ([record[name] for record in scored] for name in ("completion", "solution"))
        metrics = measure(texts, golds, [screen_of(record) for record in scored])
        local = torch.tensor([[[metric.value * metric.n, metric.n] for metric in metrics.values()]])
        for name, (right, rows) in zip(metrics, self.gather(local).sum(0).tolist(), strict=True):
            before = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (before[0] + right, before[1] + rows)

    def take(self) -> dict[str, float]:
        """The evaluation ends: each rate over the rows that it is about."""
        sums, self.sums = self.sums, {}
        return {name: right / rows for name, (right, rows) in sums.items() if rows}
