"""TRL's GRPOTrainer for GUI steps: the mixin, and a frozen vision tower."""

from typing import Any

import torch
from trl import GRPOTrainer

from overlay.backends.trl.workarounds import install
from overlay.errors import SettingError
from overlay.model.vision import VISION
from overlay.training.advantages import advantages
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
        install(kwargs.get("processing_class"))
        super().__init__(**kwargs)
        if freeze_vision_modules and not freeze_vision(self.model):
            raise SettingError(f"--freeze_vision_modules: the model has no module named {VISION!r}")

    def adjust(self, result: dict[str, Any], rewards: torch.Tensor) -> None:
        """TRL counts a missing score as 0; a completion without a verdict has no advantage, and its group is taken
        without it. The other groups stay as they are, but where all share one deviation."""
        torn = rewards.isnan().any(1)
        if torn.any():
            mended = advantages(rewards, self.scale_rewards)
            if self.scale_rewards == "batch":
                torn = torch.ones_like(torn)
            own = self.own_part(torn.repeat_interleave(rewards.size(1)))
            result["advantages"] = torch.where(own, self.own_part(mended.flatten()), result["advantages"])

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's; the rates of an evaluation are those of all its rows."""
        if any(name.startswith("eval_") for name in logs):
            # In place: Trainer looks for --metric_for_best_model in the same dict.
            logs.update({f"eval_{name}": value for name, value in self.rates.take().items()})
        super().log(logs, *args, **kwargs)

    def reuses_batch(self) -> bool:
        return self._step % (self.args.steps_per_generation * self.num_iterations) != 0

    def record(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
