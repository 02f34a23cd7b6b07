"""Log-probs of a batch's completions by a trainer's model: packed where it can be, in parts, and without all logits."""

import inspect
from typing import Any

import torch

from overlay.model.logprobs import by_chunks, instead_of_logits
from overlay.model.packing import IGNORED, Rows


class Scores:
    """Of one trainer, which has `shared` passes and `parts`. `temperature`: of sampling."""

    def __init__(self, trainer: Any, temperature: float = 1.0):
        self.trainer, self.temperature = trainer, temperature

    def __call__(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        kept: int,
        inputs: dict[str, Any],
    ) -> torch.Tensor:
        """(B, kept) log-probs of the last `kept` tokens of `input_ids` (B, L); without meaning where the mask (B, L) is
        0. `inputs`: what the model takes beside."""
        if self.trainer.shared.takes(inputs):
            return self._packed(model, self.trainer.shared.rows(input_ids, attention_mask, kept, inputs))
        inputs = inputs | {"input_ids": input_ids, "attention_mask": attention_mask}
        if "logits_to_keep" in _forward_parameters(self.trainer.accelerator.unwrap_model(model)):
            inputs["logits_to_keep"] = kept + 1
        return self._of(model, inputs, input_ids[:, -kept:])

    def _packed(self, model: torch.nn.Module, rows: Rows) -> torch.Tensor:
        shape, found = rows.ids.shape, []
        for part in self.trainer.parts.of(model, rows, len(rows.ids)):
            packed = rows.pack(part)
            scored = (packed.labels[0, 1:] != IGNORED).nonzero()[:, 0]
            places = torch.cat([scored, scored.new_zeros(1)])  # the last one's successor is not asked for
            with self.trainer.shared.images(model, packed) as images:
                given = {**packed.inputs, **images, "logits_to_keep": places}
                values = self._of(model, given, packed.labels[:, 1:][:, scored])[0]
            found.append(packed.spread(values, *shape))
        return self.trainer.parts.whole("log_probs", sum(found[1:], found[0]))

    def _of(self, model: torch.nn.Module, inputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
        """Log-probs (B, C) of `targets` (B, C), which follow the last tokens but one that are kept."""
        head = getattr(self.trainer.accelerator.unwrap_model(model), "get_output_embeddings", lambda: None)()
        if head is None:
            logits = model(**inputs).logits[:, -targets.size(1) - 1 : -1]
            return by_chunks(lambda part: part, logits, targets, self.temperature)
        with instead_of_logits(head, targets, self.temperature):
            return model(**inputs).logits[..., 0]


def _forward_parameters(model: Any) -> set[str]:
    """Names of the forward arguments of a model, under an adapter if there is one."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(base.forward).parameters)
