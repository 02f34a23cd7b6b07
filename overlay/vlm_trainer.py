"""What VLMGRPOTrainer lacks, as a subclass: log-probs of the completion only, no sampled image tokens, a resume with
the checkpoint's weights."""

import inspect
from typing import Any

import torch

from overlay.resume import ResumeWeights

IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


def extend(base: type) -> type:
    """Subclass of upstream's VLMGRPOTrainer. Raises TypeError when a method that it replaces is gone."""
    for name in ("_get_per_token_logps", "_generate_and_score_completions", "compute_loss"):
        if not callable(getattr(base, name, None)):
            raise TypeError(f"{base.__name__} has no {name} any more: overlay/vlm_trainer.py must follow")

    class GuiVLMGRPOTrainer(ResumeWeights, base):
        """VLMGRPOTrainer for GUI steps."""

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            config = self.accelerator.unwrap_model(self.model).config
            # A sampled image token would have no image: processor and model would then disagree on their number.
            tokens = {getattr(config, name, None) for name in IMAGE_TOKENS} - {None}
            self.generation_config.suppress_tokens = sorted(tokens) or None

        def _get_per_token_logps(self, model, input_ids, attention_mask, **inputs):
            """Log-probabilities (B, L - 1) of each next token; exact for the completion, 0 for the prompt.

            The caller reads the completion's part only. Keeping just its logits saves the vocabulary-sized matrix of
            a long prompt; gather - logsumexp saves the copy that log_softmax makes.
            """
            kept = self._completion_length
            if "logits_to_keep" in _forward_parameters(self.accelerator.unwrap_model(model)):
                logits = model(
                    input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept + 1, **inputs
                ).logits
            else:
                logits = model(input_ids=input_ids, attention_mask=attention_mask, **inputs).logits[:, -kept - 1 :]
            targets = input_ids[:, -kept:]
            rows = []
            for row, ids in zip(logits[:, :-1], targets, strict=True):  # one row at a time keeps the peak low
                row = row.float()
                rows.append(row.gather(1, ids[:, None])[:, 0] - row.logsumexp(-1))
            prompt = input_ids.size(1) - 1 - kept
            return torch.nn.functional.pad(torch.stack(rows), (prompt, 0))

    return GuiVLMGRPOTrainer


def _forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names of the forward arguments of a model, under an adapter if there is one."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(base.forward).parameters)
