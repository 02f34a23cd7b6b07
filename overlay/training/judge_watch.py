"""The judge of a run, one for all its ranks, and what a step says of it: how many answers got no verdict, and whether
that ends the run."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist

from overlay.rewards.judge.client import Judge
from overlay.settings import JudgeArguments


def over_ranks(own: Any) -> list[Any]:
    """A value of each rank's, in their order; the own one alone before there are others."""
    if not dist.is_initialized():
        return [own]
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, own)
    return every


def judge_for(settings: JudgeArguments, methods: Iterable[str]) -> Judge | None:
    """The judge of a run whose rows are scored by these accuracy methods, or None when none of them asks one."""
    if "llm" not in methods:
        return None
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    return Judge(settings, int(os.environ.get("RANK", "0")), ranks, over_ranks)


class JudgeWatch:
    """Counts of one judge, of all ranks. `gather`: (1, 4) on each rank → (ranks, 4)."""

    def __init__(self, judge: Judge, gather: Callable[[torch.Tensor], torch.Tensor]):
        self.judge, self.gather = judge, gather

    def look(self, step: int) -> tuple[dict[str, float], str | None]:
        """(metrics of the answers since the last look, why the run should end or None); on every rank."""
        counts = self.judge.take_counts()
        local = torch.tensor([[counts.answers, counts.asked, counts.cached, counts.failed]], dtype=torch.float64)
        answers, asked, cached, failed = self.gather(local).sum(0).tolist()
        if not answers:
            return {}, None
        metrics = {"judge/failure_rate": failed / answers, "judge/asked": asked, "judge/cached": cached}
        limit = self.judge.settings.judge_max_failure
        if failed / answers <= limit:
            return metrics, None
        return metrics, (
            f"the judge gave no verdict on {failed:.0f} of {answers:.0f} answers in step {step}, more than "
            f"--judge_max_failure {limit}: mend its server, then start again to go on from the checkpoint"
        )
