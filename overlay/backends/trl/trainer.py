"""TRL's GRPOTrainer for GUI steps: the mixin, and a frozen vision tower."""

from typing import Any

import torch
from trl import GRPOTrainer

from overlay.backends.trl.workarounds import install
from overlay.errors import SettingError
from overlay.model.vision import VISION
from overlay.training.trainer import GuiTrainer


def freeze_vision(model: torch.nn.Module) -> int:
    """Take the vision tower's parameters (adapters on it too) out of training; returns how many tensors that are."""
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


class GuiGRPOTrainer(GuiTrainer, GRPOTrainer):
    """Trains on rows of `overlay.data.examples.as_rows`. `freeze_vision_modules`: keep the vision tower as it is."""

    image_key = "images"

    def __init__(self, *, freeze_vision_modules: bool = False, **kwargs: Any):
        install()
        super().__init__(**kwargs)
        if freeze_vision_modules and not freeze_vision(self.model):
            raise SettingError(f"--freeze_vision_modules: the model has no module named {VISION!r}")

    def record(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
