"""TRL's GRPOTrainer with what a Qwen2.5-VL run needs and it lacks: a frozen vision tower, and a resume that resumes."""

from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOTrainer

VISION = "visual"


def freeze_vision(model: torch.nn.Module) -> int:
    """Take the vision tower's parameters (adapters on it too) out of training; returns how many tensors that are."""
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


class GuiGRPOTrainer(GRPOTrainer):
    """GRPOTrainer for GUI steps. `freeze_vision_modules`: keep the vision tower as it is."""

    def __init__(self, *args, freeze_vision_modules: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        if freeze_vision_modules and not freeze_vision(self.model):
            raise ValueError(f"--freeze_vision_modules: the model has no module named {VISION!r}")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Load the checkpoint's weights, all of them.

        Symptom: transformers 5 saves Qwen2.5-VL under the older key layout and loads it on resume with strict=False,
        so nothing matches and training silently goes on from the base weights. from_pretrained translates the keys.
        Drop this when Trainer's own resume gives the checkpoint's weights (tests/test_resume.py without it).
        """
        target = self.accelerator.unwrap_model(model or self.model)
        if not isinstance(target, PreTrainedModel) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        loaded = type(target).from_pretrained(resume_from_checkpoint, dtype=target.dtype)
        target.load_state_dict(loaded.state_dict(), strict=True)


def last_checkpoint(output_dir: str) -> str | None:
    """The newest checkpoint in output_dir, or None."""
    return get_last_checkpoint(output_dir) if Path(output_dir).is_dir() else None
