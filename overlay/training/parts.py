"""A micro-batch in parts of a bounded number of tokens (--tokens_per_pass), each with a backward of its own.

For each part the base's own code computes the loss of the whole micro-batch, of log-probs that have a gradient in the
part's rows only: rows of earlier parts have their values, rows to come 0. No row's gradient depends on another row's
log-probs, so the parts' gradients add up to the whole's, whatever a loss divides by; settings for which that is not so
are refused. When the last part is computed all log-probs are there, so its loss is the micro-batch's, and what it
records are the micro-batch's metrics; what the others record is dropped.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers.training_args import OptimizerNames

from overlay.errors import SettingError
from overlay.model.packing import Rows

Part = list[int]  # rows that are packed into one pass


class Parts:
    """How the passes of one trainer are cut up. `budget`: tokens of a pass; 0: a policy pass is one part."""

    def __init__(self, trainer: Any, budget: int):
        self.trainer, self.budget = trainer, budget
        self.repeating = False  # whether the loss is computed again, for a part after the first
        self._left: list[Part] | None = None  # of the policy pass under way; None before its first part
        self._open, self._told = False, False
        self._around, self._known = ExitStack(), {}
        if budget and (reason := why_whole(trainer)):
            raise SettingError(f"--tokens_per_pass {budget}: {reason}")

    def loss(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The loss of a micro-batch, whose last part is still to go backward. `compute`: its loss by the base."""
        if not self.budget:
            return compute()
        self._open, self._left, self._known = True, None, {}
        try:
            while True:
                with ExitStack() as self._around:
                    loss = compute()
                    if not self._left:
                        return loss
                    self._backward(loss)
                self.repeating = True
        finally:
            self._open = self.repeating = False

    def of(self, model: Any, rows: Rows, size: int) -> list[Part]:
        """The parts to compute now: the next one of a policy pass by `model`, all of a pass without gradient (`size`
        rows each without a budget)."""
        count = len(rows.prompts)
        if not self.budget:
            return [list(range(first, min(first + size, count))) for first in range(0, count, size)]
        if not self._policy():
            return self._plan(rows)
        if self._left is None:
            self._left = self._plan(rows)
        part = self._left.pop(0)
        if self._left:
            self._around.enter_context(self._not_the_last(model))
        return [part]

    def whole(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """`values` (B, C) of what was computed, 0 elsewhere, with those of earlier parts in their places."""
        if not (self.budget and self._policy()):
            return values
        values = values + self._known.get(name, 0.0)
        self._known[name] = values.detach()
        return values

    def _policy(self) -> bool:
        return self._open and torch.is_grad_enabled()

    def _plan(self, rows: Rows) -> list[Part]:
        """The rows within the budget, in as many parts on every rank, since each runs collectives; ranks have equally
        many rows."""
        parts = rows.within(self.budget)
        largest = max(map(rows.tokens, parts))
        if largest > self.budget and not self._told:
            self._told = True
            print(f"--tokens_per_pass {self.budget}: a row of {largest} tokens is a pass of its own", file=sys.stderr)
        accelerator = self.trainer.accelerator
        most = len(parts)
        if accelerator.num_processes > 1:
            most = int(accelerator.gather(torch.tensor([most], device=accelerator.device)).max())
        return stretched(parts, most)

    @contextmanager
    def _not_the_last(self, model: Any) -> Iterator[None]:
        """As a micro-step before the last of its accumulation; what is recorded is dropped."""
        trainer, accelerator = self.trainer, self.trainer.accelerator
        syncs, metrics = accelerator.sync_gradients, trainer._metrics
        accelerator.gradient_state._set_sync_gradients(False)
        trainer._metrics = copy.deepcopy(metrics)
        deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
        try:
            with nullcontext() if deepspeed else accelerator.no_sync(model):
                yield
        finally:
            accelerator.gradient_state._set_sync_gradients(syncs)
            trainer._metrics = metrics

    def _backward(self, loss: torch.Tensor) -> None:
        """As Trainer.training_step does it with the last part's."""
        trainer = self.trainer
        if not trainer.loss_is_scaled_for_ga:
            loss = loss / trainer.current_gradient_accumulation_steps
        deepspeed = trainer.accelerator.distributed_type == DistributedType.DEEPSPEED
        trainer.accelerator.backward(loss, **({"scale_wrt_gas": False} if deepspeed else {}))


def stretched(parts: list[Part], count: int) -> list[Part]:
    """`count` parts of the same rows, of which there are as many at least: those with most rows are halved.

    >>> stretched([[0, 1, 2], [3]], 3)
    [[0], [1, 2], [3]]
    """
    parts = list(parts)
    while len(parts) < count:
        longest = max(parts, key=len)
        at, half = parts.index(longest), len(longest) // 2
        parts[at : at + 1] = [longest[:half], longest[half:]]
    return parts


def why_whole(trainer: Any) -> str | None:
    """Why a trainer's micro-batch cannot be computed in parts, None when it can."""
    args = trainer.args
    if trainer.shared.refused:
        return f"it needs prompts that are computed once ({trainer.shared.refused})"
    if getattr(trainer, "aux_loss_enabled", False):
        return "the load balancing loss of experts is one of all rows together; --router_aux_loss_coef 0 leaves it out"
    if getattr(args, "top_entropy_quantile", 1.0) < 1:
        return "--top_entropy_quantile below 1 compares the entropies of all rows"
    if getattr(args, "use_adaptive_entropy", False):
        return "--use_adaptive_entropy counts the entropies of each pass"
    if args.optim in (OptimizerNames.LOMO, OptimizerNames.ADALOMO):
        return f"--optim {args.optim.value} steps in each backward"
    return None
