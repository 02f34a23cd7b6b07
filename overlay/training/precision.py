"""Whether an optimizer's step can change the weights at all."""

import torch

from overlay.errors import SettingError

NARROW = (torch.bfloat16, torch.float16)


def check_precision(model: torch.nn.Module, keeps_masters: bool) -> None:
    """SettingError when trainable weights are of 16 bits and nothing keeps 32-bit ones beside them, as DeepSpeed does
    (`keeps_masters`): a bfloat16 weight of 0.02 changes in steps of 1e-4, so at a learning rate of 1e-6 it never does.
    """
    narrow = next((p for p in model.parameters() if p.requires_grad and p.dtype in NARROW), None)
    if narrow is not None and not keeps_masters:
        kind = str(narrow.dtype).removeprefix("torch.")
        raise SettingError(
            f"trainable weights in {kind} without DeepSpeed: small steps would be rounded away. --dtype float32 "
            "(VLM-R1: --torch_dtype float32) keeps them whole, with --bf16 true passes still run in bfloat16"
        )
