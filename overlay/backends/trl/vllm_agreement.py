"""What vLLM generation (`--use_vllm`, TRL backend) needs to agree on with the trainer: pixels and sampled tokens."""

from typing import Any

from overlay.errors import SettingError
from overlay.model.processor import load_processor

NEVER = -100  # logit bias


def check_pixels(model: str, processor: Any) -> None:
    """SettingError unless the model folder's own processor has the run's pixel limits: vLLM reads them there, and
    the trainer's prompt would have another number of image tokens than vLLM's images."""
    own, wanted = load_processor(model).image_processor.size, processor.image_processor.size
    pairs = [(size["shortest_edge"], size["longest_edge"]) for size in (own, wanted)]
    if pairs[0] != pairs[1]:
        raise SettingError(
            "--use_vllm: vLLM takes its pixel limits from the model folder, {} to {}; this run has {} to {}. "
            "Give both a folder with the run's: python -m overlay.model.processor MODEL OUT --min_pixels {} "
            "--max_pixels {}".format(*pairs[0], *pairs[1], *pairs[1])
        )


def without_image_tokens(processor: Any, generation_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Sampling parameters that never give an image token: one in a completion would have no image."""
    found = (getattr(processor, name, None) for name in ("image_token_id", "video_token_id"))
    bias = {"logit_bias": dict.fromkeys(sorted({token for token in found if token is not None}), NEVER)}
    return bias | (generation_kwargs or {})
