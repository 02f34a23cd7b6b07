"""A resume that has the checkpoint's weights. For both trainers."""

import torch
from transformers import PreTrainedModel


class ResumeWeights:
    """Mixin for transformers' Trainer: load all of a checkpoint's weights, or fail.

    Symptom: transformers 5 saves Qwen2.5-VL under the older key layout and loads it on resume with strict=False, so
    nothing matches and training silently goes on from the base weights. from_pretrained translates the keys. Drop this
    when Trainer's own resume gives the checkpoint's weights (the resume tests pass without it).
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        target = self.accelerator.unwrap_model(model or self.model)
        if not isinstance(target, PreTrainedModel) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        loaded = type(target).from_pretrained(resume_from_checkpoint, dtype=target.dtype)
        target.load_state_dict(loaded.state_dict(), strict=True)
