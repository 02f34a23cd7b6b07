"""TRL's GRPOTrainer with what a Qwen2.5-VL run needs and it lacks: a frozen vision tower, images opened when they are
needed and kept out of its logs, new prompts for groups without a gradient, and a resume that resumes."""

from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer import grpo_trainer

from overlay.backends.vlm_r1.once_per_prompt import OpenImages
from overlay.model.vision import VISION, keep_in_step
from overlay.training.checkpoints import WholeCheckpoints
from overlay.training.recorder import RewardLog
from overlay.training.reference import KeepReference
from overlay.training.refill import DynamicSampling
from overlay.training.weights import ResumeWeights


def freeze_vision(model: torch.nn.Module) -> int:
    """Take the vision tower's parameters (adapters on it too) out of training; returns how many tensors that are."""
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


def gather_light(objects: list[Any]) -> list[Any]:
    """accelerate's gather_object for TRL's logs, with the pixels taken out of chat messages.

    Symptom: for its table of completions TRL gathers all prompts to all ranks at every step, whatever it logs, and
    their messages hold the images: two screens of 1080 x 2400 are 15 MB a rank. Drop this when it gathers text only.
    """
    return gather_object([_without_pixels(value) for value in objects])


def _without_pixels(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_pixels(part) for part in value]
    if isinstance(value, dict):
        return {name: _without_pixels(part) for name, part in value.items() if name != "image"}
    return value


gather_object = grpo_trainer.gather_object
grpo_trainer.gather_object = gather_light


class GuiGRPOTrainer(DynamicSampling, RewardLog, OpenImages, WholeCheckpoints, ResumeWeights, GRPOTrainer):
    """GRPOTrainer for GUI steps: rows of `overlay.data.examples.as_rows`. `freeze_vision_modules`: keep the vision
    tower as it is."""

    image_key = "images"

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
