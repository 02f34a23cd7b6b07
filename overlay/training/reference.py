"""The synced reference model (TR-DPO) in every checkpoint, for both trainers.

Symptom: `--sync_ref_model` mixes the policy into the reference as training goes, but Trainer saves the policy only, so
after a resume the reference is the base model again and the KL term jumps. Drop this when Trainer saves the reference.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from overlay.errors import SettingError
from overlay.training.checkpoints import Checkpoints

FILE = "reference.pt"


def gathered(model: torch.nn.Module, rank: int | None) -> AbstractContextManager:
    """All parameters whole while inside; what `rank` changes is kept. Does something under ZeRO-3 only."""
    parameters = list(model.parameters())
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters, modifier_rank=rank)


class KeepReference(TrainerCallback):
    """Write the reference model into each of a run's checkpoints and take it from there on resume."""

    def __init__(self, model: torch.nn.Module, checkpoints: Checkpoints):
        self.model = getattr(model, "module", model)  # inside DeepSpeed's engine or DDP
        self.checkpoints = checkpoints
        checkpoints.additions.append(self.save)

    def save(self, folder: Path) -> None:
        """On every rank, for gathering; the saving one writes."""
        with gathered(self.model, None):
            if self.checkpoints.args.should_save:
                torch.save(self.model.state_dict(), folder / FILE)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After a resume, `state` is the checkpoint's."""
        if not state.global_step:
            return
        file = Path(self.checkpoints.resumed_from or "") / FILE
        if not file.exists():
            raise SettingError(f"{file} is not there: --sync_ref_model cannot go on from a checkpoint made without it")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        with gathered(self.model, 0), torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.numel():  # empty on the other ranks under ZeRO-3
                    parameter.copy_(weights[name])
