"""A resume that has the checkpoint's weights."""

import torch
from transformers import PreTrainedModel


def load_weights(model: torch.nn.Module, checkpoint: str) -> bool:
    """Load all of a checkpoint's weights into a model that is no wrapper, or fail; False for another kind of model.

    Symptom: transformers 5 saves Qwen2.5-VL under the older key layout and loads it on resume with strict=False, so
    nothing matches and training silently goes on from the base weights (ms-swift issue 7947). from_pretrained
    translates the keys. Drop this when Trainer's own resume gives the checkpoint's weights (the resume tests pass
    without it).
    """
    if not isinstance(model, PreTrainedModel):
        return False
    loaded = type(model).from_pretrained(checkpoint, dtype=model.dtype)
    model.load_state_dict(loaded.state_dict(), strict=True)
    return True
