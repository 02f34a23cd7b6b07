"""What a step says of its judge: how many answers got no verdict, and whether that ends the run."""

from collections.abc import Callable

import torch

from overlay.rewards.judge.client import Judge


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
