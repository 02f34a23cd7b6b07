"""What each reward gave to the completions of the last batch, kept apart from what the trainer adds up."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from overlay.errors import SettingError
from overlay.training.rollout_file import clean

Scores = list[float | None]
NEEDED = "needed"  # attribute of a reward function: a completion that it has no score for has no reward at all
HandOver = Callable[[int, Any], Any]


def statistics(scores: torch.Tensor, group: int) -> dict[str, float]:
    """mean, std and zero_std_groups of one component's scores (N,), NaN where it gave none; `group` completions stand
    together for a prompt. zero_std_groups: the share of prompt groups that the component does not rank."""
    known = scores[~scores.isnan()]
    grouped = scores.view(-1, group)
    low, high = grouped.nan_to_num(nan=torch.inf).amin(1), grouped.nan_to_num(nan=-torch.inf).amax(1)
    return {
        "mean": known.mean().item() if len(known) else 0.0,
        "std": known.std().item() if len(known) > 1 else 0.0,
        "zero_std_groups": (high <= low).float().mean().item(),  # a group without any score ranks nothing either
    }


class Recorder:
    """Stands between a trainer and its rewards.

    `weights`: of the rewards, 1 each when None. `hand_over(index, scores)`: what the trainer gets for the raw scores of
    reward number `index` (a list, or a model's logits); itself when None. `beat` is told which reward runs.
    """

    def __init__(
        self,
        weights: list[float] | None = None,
        hand_over: HandOver | None = None,
        beat: Callable[[str], None] = lambda phase: None,
    ):
        self.weights, self.beat = weights, beat
        self.hand_over = hand_over or (lambda index, scores: scores)
        self.scores: dict[str, Scores] = {}
        self.reached: list[bool] | None = None  # of the batch's completions, those that are to be scored; None: all
        self._weighted: dict[int, list[float]] = {}  # NaN: no reward at all
        self._names: dict[str, int] = {}

    def clear(self) -> None:
        """A new batch begins."""
        self.scores, self._weighted, self.reached = {}, {}, None

    def wrapped(self, rewards: list[Any]) -> list[Any]:
        """The rewards with functions recorded; models and their paths stay (see `watch`). SettingError when two have
        one name: both trainers would log them as one."""
        names = [_name(each) for each in rewards]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingError(
                f"--reward_funcs: two rewards are logged as {twice[0]!r}: name each once (its part of the total is "
                "--reward_weights), and give models folders of different names"
            )
        models = (str, torch.nn.Module)
        return [each if isinstance(each, models) else self._function(n, each) for n, each in enumerate(rewards)]

    def watch(self, index: int, model: Any) -> None:
        """Record what a reward model (one logit a row) gives."""
        name = _name(model)

        def hook(module: torch.nn.Module, inputs: tuple, output: Any) -> Any:
            self._note(index, name, [clean(score) for score in output.logits[:, 0].float().tolist()])
            output.logits = self.hand_over(index, output.logits)
            return output

        model.register_forward_hook(hook)

    def totals(self) -> torch.Tensor:
        """Weighted reward of each completion (B,): a missing score counts as 0, a missing verdict makes it NaN."""
        return torch.tensor([sum(row) for row in zip(*self._weighted.values(), strict=True)], dtype=torch.float32)

    def weighted(self, name: str) -> torch.Tensor:
        """What one reward adds to the totals (B,)."""
        return torch.tensor(self._weighted[self._names[name]], dtype=torch.float32)

    def components(self) -> dict[str, torch.Tensor]:
        """Scores (B,) by reward, NaN where it gave none."""
        return {
            name: torch.tensor([float("nan") if score is None else score for score in scores])
            for name, scores in self.scores.items()
        }

    def _function(self, index: int, function: Callable) -> Callable:
        @wraps(function)
        def reward(*args: Any, **columns: Any) -> Any:
            self.beat(f"in {function.__name__}")
            scores = self._spread(function(*args, **{name: self._kept(part) for name, part in columns.items()}))
            self.beat("scored")
            self._note(index, function.__name__, scores, getattr(function, NEEDED, False))
            return self.hand_over(index, scores)

        return reward

    def _kept(self, column: Any) -> Any:
        """A column's values for the completions that are to be scored; what is no column as it is."""
        if self.reached is None or not isinstance(column, list) or len(column) != len(self.reached):
            return column
        return [value for value, kept in zip(column, self.reached, strict=True) if kept]

    def _spread(self, scores: Any) -> Scores:
        """Scores of those, None for the others."""
        found = iter([clean(score) for score in scores])
        return list(found) if self.reached is None else [next(found) if kept else None for kept in self.reached]

    def _note(self, index: int, name: str, scores: Scores, needed: bool = False) -> None:
        weight, missing = self.weights[index] if self.weights else 1.0, float("nan") if needed else 0.0
        kept, self._names[name] = self.reached or [True] * len(scores), index
        self.scores[name] = [score if known else None for score, known in zip(scores, kept, strict=True)]
        values = [missing if score is None else weight * score for score in scores]
        self._weighted[index] = [value if known else float("nan") for value, known in zip(values, kept, strict=True)]


def _name(reward: Any) -> str:
    """What the trainers log a reward as: its function's name, or the last part of its model's path."""
    if isinstance(reward, str):
        return reward.split("/")[-1]
    path = getattr(getattr(reward, "config", None), "_name_or_path", None)
    return reward.__name__ if path is None else path.split("/")[-1]
