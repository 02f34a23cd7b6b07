"""TRL's GRPOTrainer with what a Qwen2.5-VL run needs and it lacks: a frozen vision tower, and a resume that resumes."""

import torch
from trl import GRPOTrainer

from overlay.checkpoints import WholeCheckpoints
from overlay.reference import KeepReference
from overlay.resume import ResumeWeights
from overlay.reward_log import RewardLog
from overlay.vision_pass import VISION, keep_in_step


def freeze_vision(model: torch.nn.Module) -> int:
    """Take the vision tower's parameters (adapters on it too) out of training; returns how many tensors that are."""
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


class GuiGRPOTrainer(RewardLog, WholeCheckpoints, ResumeWeights, GRPOTrainer):
    """GRPOTrainer for GUI steps. `freeze_vision_modules`: keep the vision tower as it is."""

    def __init__(self, *args, freeze_vision_modules: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        if freeze_vision_modules and not freeze_vision(self.model):
            raise ValueError(f"--freeze_vision_modules: the model has no module named {VISION!r}")
        if self.args.sync_ref_model:
            self.add_callback(KeepReference(self))
        if self.accelerator.num_processes > 1:
            for model in filter(None, (self.model, self.ref_model)):
                keep_in_step(self.accelerator.unwrap_model(model))

    def _record(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
