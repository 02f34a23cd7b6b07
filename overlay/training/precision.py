"""Whether an optimizer's step can change the weights at all."""

from typing import Any

import torch

from overlay.errors import SettingError

NARROW = (torch.bfloat16, torch.float16)


def keeps_masters(trainer: Any) -> bool:
    """Whether something keeps 32-bit weights beside a trainer's 16-bit ones: DeepSpeed does; accelerate's FSDP makes
    them so when it is asked for mixed precision, and shards what was loaded when not."""
    return trainer.is_deepspeed_enabled or (trainer.is_fsdp_enabled and trainer.accelerator.mixed_precision != "no")


def check_precision(model: Any, keeps_masters: bool) -> None:
    """Adapters of a quantized model are brought to 32 bits. SettingError when trainable weights are of 16 bits and
    nothing keeps 32-bit ones beside them, as DeepSpeed does (`keeps_masters`): a bfloat16 weight of 0.02 changes in
    steps of 1e-4, so at a learning rate of 1e-6 it never does.
    """
    if getattr(model, "is_quantized", False):  # TRL casts its adapters to bfloat16, whatever --dtype says
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dtype in NARROW:
                parameter.data = parameter.data.float()
    narrow = next((p for p in model.parameters() if p.requires_grad and p.dtype in NARROW), None)
    if narrow is not None and not keeps_masters:
        kind = str(narrow.dtype).removeprefix("torch.")
        raise SettingError(
            f"trainable weights in {kind} without DeepSpeed or FSDP's mixed precision: small steps would be rounded "
            "away. --dtype float32 (VLM-R1: --torch_dtype float32) keeps them whole, with --bf16 true passes still run "
            "in bfloat16"
        )
