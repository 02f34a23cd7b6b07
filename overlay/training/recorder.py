"""What both trainers say about their rewards: each component's spread, every completion on disk, a judge that fails.

A mixin for TRL's GRPOTrainer and VLM-R1's: it records what each reward function or model returns, adds
`rewards/<name>/zero_std_groups` (the share of prompt groups that the component does not rank) to the log, writes
rollouts, and ends the run with a checkpoint and a reason when the judge gives too few verdicts.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from overlay.action.action import parse_action
from overlay.metrics.flags import measure
from overlay.rewards.judge import client
from overlay.training.rollout_file import RolloutFile, clean
from overlay.training.stop import Guards


def statistics(scores: torch.Tensor, group: int) -> dict[str, float]:
    """mean, std and zero_std_groups of one component's scores (N,), NaN where it gave none; `group` completions stand
    together for a prompt."""
    known = scores[~scores.isnan()]
    grouped = scores.view(-1, group)
    low, high = grouped.nan_to_num(nan=torch.inf).amin(1), grouped.nan_to_num(nan=-torch.inf).amax(1)
    return {
        "mean": known.mean().item() if len(known) else 0.0,
        "std": known.std().item() if len(known) > 1 else 0.0,
        "zero_std_groups": (high <= low).float().mean().item(),  # a group without any score ranks nothing either
    }


class RewardLog(Guards):
    """Mixin in front of a GRPO trainer; `reward_funcs` is a list given by keyword. `rollout_log_mb`: size of this
    rank's rollouts on disk, none at 0."""

    def __init__(self, *args: Any, reward_funcs: list, rollout_log_mb: float = 0, **kwargs: Any):
        self._scores: dict[str, list[float | None]] = {}
        self._weighted: dict[int, list[float]] = {}
        recorded = [
            f if isinstance(f, (str, torch.nn.Module)) else self._recorded(i, f) for i, f in enumerate(reward_funcs)
        ]
        super().__init__(*args, reward_funcs=recorded, **kwargs)
        for index, model in enumerate(self.reward_funcs):
            if isinstance(model, torch.nn.Module):
                inner = self.accelerator.unwrap_model(model)  # out of DeepSpeed's engine
                inner.register_forward_hook(self._model_hook(index, inner.config._name_or_path.split("/")[-1]))
        where = self.args.output_dir, self.args.process_index
        self._rollouts = RolloutFile(*where, rollout_log_mb) if rollout_log_mb else None

    def _contribution(self, index: int, scores: Any) -> Any:
        """What reward number `index` hands to the trainer for its raw scores (a list, or a tensor of logits)."""
        return scores

    def _record(self, name: str, value: float) -> None:
        """Put a metric into the trainer's next log entry."""
        raise NotImplementedError

    def _recorded(self, index: int, function: Callable) -> Callable:
        @wraps(function)
        def reward(*args: Any, **columns: Any) -> list[float | None]:
            self.beat(f"in {function.__name__}")
            scores = [clean(score) for score in function(*args, **columns)]
            self.beat("scored")
            self._note(index, function.__name__, scores)
            return self._contribution(index, scores)

        return reward

    def _model_hook(self, index: int, name: str) -> Callable:
        def hook(module: torch.nn.Module, inputs: tuple, output: Any) -> Any:
            self._note(index, name, [clean(score) for score in output.logits[:, 0].float().tolist()])
            output.logits = self._contribution(index, output.logits)
            return output

        return hook

    def _note(self, index: int, name: str, scores: list[float | None]) -> None:
        weight = self.args.reward_weights[index] if self.args.reward_weights else 1.0
        self._scores[name] = scores
        self._weighted[index] = [weight * (score or 0.0) for score in scores]

    def group_rewards(self) -> torch.Tensor:
        """Weighted reward of every completion of the last batch, of all ranks: (groups, completions of a prompt)."""
        totals = torch.tensor([sum(row) for row in zip(*self._weighted.values(), strict=True)], dtype=torch.float32)
        return self.accelerator.gather(totals.to(self.accelerator.device)).view(-1, self._group())

    def _group(self) -> int:
        return (
            self.num_generations if self.model.training else getattr(self, "num_generations_eval", self.num_generations)
        )

    def _generate_and_score_completions(self, inputs: list[dict], *model: Any) -> dict[str, Any]:
        self._scores, self._weighted = {}, {}
        self.beat("generating")
        result = super()._generate_and_score_completions(inputs, *model)
        self._adjust(result)
        group = self._group()
        for name, scores in self._scores.items():
            local = torch.tensor([float("nan") if s is None else s for s in scores], device=self.accelerator.device)
            self._log_component(name, statistics(self.accelerator.gather(local), group))
        if self._rollouts is not None or not self.model.training or self.args.log_completions:
            self._log_records(self._records(inputs, result))
        if client.current() is not None:
            self._watch_judge(client.current())
        return result

    def _adjust(self, result: dict[str, Any]) -> None:
        """Change a batch's result, now that its rewards are known."""

    def _log_records(self, records: list[dict[str, Any]]) -> None:
        """What becomes of a batch's completions; on every rank."""
        if self._rollouts is not None:
            self._rollouts.write(records)
        if not self.model.training:
            self._log_scores(records)

    def _log_component(self, name: str, values: dict[str, float]) -> None:
        self._record(f"rewards/{name}/zero_std_groups", values["zero_std_groups"])

    def _records(self, inputs: list[dict], result: dict[str, Any]) -> list[dict[str, Any]]:
        texts = self.processing_class.batch_decode(result["completion_ids"], skip_special_tokens=True)
        advantages = result["advantages"].tolist()
        columns = ("source", "image_path", "problem", "solution", "coordinate_scale", "accu_reward_method")
        return [
            {
                "step": self.state.global_step,
                "mode": "train" if self.model.training else "eval",
                **{name: row.get(name) for name in columns},
                "completion": text,
                "rewards": {name: scores[n] for name, scores in self._scores.items()},
                "advantage": advantages[n],
            }
            for n, (row, text) in enumerate(zip(inputs, texts, strict=True))
        ]

    def _log_scores(self, records: list[dict[str, Any]]) -> None:
        """Metrics of an evaluation's sampled answers, over the rows whose gold is an action: rule `box`."""
        scored = [record for record in records if parse_action(record["solution"] or "") is not None]
        metrics = measure([record["completion"] for record in scored], [record["solution"] for record in scored])
        local = torch.tensor([[metric.value * metric.n, metric.n] for metric in metrics.values()], dtype=torch.float32)
        sums = self.accelerator.gather(local[None].to(self.accelerator.device)).sum(0).tolist()
        for name, (right, rows) in zip(metrics, sums, strict=True):
            if rows:
                self._record(name, right / rows)

    def _watch_judge(self, judge: client.Judge) -> None:
        counts = judge.take_counts()
        local = torch.tensor([counts.answers, counts.asked, counts.cached, counts.failed], dtype=torch.float64)
        answers, asked, cached, failed = (
            self.accelerator.gather(local.to(self.accelerator.device)).view(-1, 4).sum(0).tolist()
        )
        if not answers:
            return
        for name, value in (("failure_rate", failed / answers), ("asked", asked), ("cached", cached)):
            self._record(f"judge/{name}", value)
        limit = judge.settings.judge_max_failure
        if failed / answers > limit:
            self.stop(
                f"the judge gave no verdict on {failed:.0f} of {answers:.0f} answers in step {self.state.global_step}, "
                f"more than --judge_max_failure {limit}: mend its server, then start again to go on from the checkpoint"
            )
