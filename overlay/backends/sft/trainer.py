"""transformers' Trainer for rows with their completions: the run around it is GRPO's, the loss that of completions."""

import sys
from typing import Any

import torch
from transformers import Trainer

from overlay.backends.sft.collator import Collator
from overlay.data.splits import prompts_of_a_step
from overlay.model.vision import take_any_rows
from overlay.prompt.style import PromptStyle
from overlay.training.parts import Parts
from overlay.training.precision import check_precision, keeps_masters
from overlay.training.run import Run
from overlay.training.sampler import Epochs, GroupSampler
from overlay.training.scores import Scores
from overlay.training.shared_passes import SharedPasses

BESIDE = ("input_ids", "attention_mask", "weights", "rows")  # of a batch, not for the model's forward


class SftTrainer(Run, Trainer):
    """`args`: SftArguments; rows of `overlay.data.examples.as_rows`; the rest is `Run`'s and Trainer's."""

    loss_is_scaled_for_ga = True

    def __init__(self, *, args: Any, processing_class: Any, style: PromptStyle | None = None, **kwargs: Any):
        collator = Collator(processing_class, args.answer_weight, args.direct_share, args.seed, style)
        super().__init__(args=args, processing_class=processing_class, data_collator=collator, style=style, **kwargs)
        check_precision(self.model, keeps_masters(self))
        take_any_rows(self.accelerator.unwrap_model(self.model), self.accelerator.num_processes)
        self.shared = SharedPasses(self.model, None, self.accelerator, args.share_prompts)
        self._metrics: dict[str, list[float]] = {}  # none are recorded in a loss; `Parts` drops what a part records
        self.parts, self.scores = Parts(self, args.tokens_per_pass), Scores(self)
        if self.shared.refused and args.process_index == 0:
            print(f"batches are padded: {self.shared.refused}", file=sys.stderr)

    def rows_of(self, inputs: Any) -> list[dict]:
        return inputs["rows"]

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupSampler:
        """An order that follows from seed and epoch alone; rows that fill no step are left out of their epoch."""
        data = self.train_dataset if train_dataset is None else train_dataset
        sampler = GroupSampler(data, prompts_of_a_step(self.args), 1, 1, self.args.seed, own=self.own_order)
        self.add_callback(Epochs(sampler))
        return sampler

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor:
        """Weight of the tokens of a step on all ranks, divided by their number: gradients are means over ranks."""
        total = torch.stack([batch["weights"].sum() for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(total[None]).mean()

    def compute_loss(
        self, model: torch.nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Of a training step, the mean over its completions' tokens by weight, on all ranks and accumulated batches; in
        evaluation the mean over rows of that of each row, which no size of batch changes."""
        self.shared.clear()
        return self.parts.loss(lambda: self._loss(model, inputs, num_items_in_batch))

    def _loss(self, model: torch.nn.Module, inputs: Any, total: torch.Tensor | None) -> torch.Tensor:
        weights = inputs["weights"]
        given = {name: value for name, value in inputs.items() if name not in BESIDE}
        log_probs = self.scores(model, inputs["input_ids"], inputs["attention_mask"], weights.size(1), given)
        losses = -(log_probs * weights)
        if total is None:
            return (losses.sum(1) / weights.sum(1)).mean()
        return losses.sum() / total

    def prediction_step(
        self, model: torch.nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """The loss of one batch of held-out rows."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            return self.compute_loss(model, inputs).detach(), None, None
