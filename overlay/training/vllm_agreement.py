"""What vLLM generation (`--use_vllm`) needs to agree on with the trainer: pixels, prompts, sampled tokens, numbers."""

from itertools import groupby
from typing import Any, cast

import torch

from overlay.errors import RunStopped, SettingError
from overlay.model.processor import load_processor

NEVER = -100  # logit bias
USE = "--use_vllm"


def check_installed() -> None:
    """SettingError unless there is a vLLM that TRL finds."""
    from trl.generation import vllm_generation

    if not vllm_generation.is_vllm_available():
        raise SettingError(f"{USE}: there is no vLLM in this environment: make vllm, then VENV=.venv-vllm")


def check_ahead(batches: int) -> None:
    """SettingError unless --generate_ahead is 0 or 1."""
    if batches not in (0, 1):
        raise SettingError(f"--generate_ahead {batches}: 0, or 1 for the next batch")


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


def one_pad_an_image(ids: list[int], token: int) -> list[int]:
    """A prompt's ids with each run of image tokens made one: vLLM's engine puts each image's own number there.

    >>> one_pad_an_image([1, 6, 6, 6, 2, 6, 6, 3], 6)
    [1, 6, 2, 6, 3]
    """
    return [each for value, run in groupby(ids) for each in ([value] if value == token else run)]


def same_prompts(own: list[list[int]], engines: list[list[int]]) -> None:
    """RunStopped unless the engine made of every prompt the trainer's own ids."""
    for number, (mine, theirs) in enumerate(zip(own, engines, strict=True)):
        if list(mine) != list(theirs):
            raise RunStopped(
                f"{USE}: vLLM makes {len(theirs)} tokens of prompt {number} of the batch, the trainer {len(mine)}: it "
                "would sample from another prompt than is trained on. Another version of vLLM may do; without "
                f"{USE} transformers generates"
            )


def dtype_of(model: Any, accelerator: Any) -> str:
    """What the trainer computes in, in vLLM's words."""
    mixed = {"bf16": "bfloat16", "fp16": "float16"}.get(str(accelerator.mixed_precision))
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return mixed or str(own).removeprefix("torch.")


def weights_of(llm: Any) -> torch.nn.Module:
    """The model inside an engine. SettingError where it cannot be reached, or where new weights cannot be handed over:
    on a CPU vLLM packs linear layers for oneDNN and keeps no weight to write to."""
    try:
        model = llm.llm_engine.model_executor.driver_worker.model_runner.model
    except AttributeError as gone:
        raise SettingError(f"{USE}: this vLLM's engine keeps its model elsewhere ({gone}): take 0.22 to 0.32") from gone
    packed = next((name for name, weight in model.named_parameters() if not weight.numel()), None)
    if packed:
        raise SettingError(
            f"{USE}: this vLLM has packed {packed} and takes no new weights (its CPU build does that): train on a GPU, "
            f"or without {USE}"
        )
    return model


def reason_of(error: Exception) -> str:
    """What an engine that did not start says, in one line."""
    told: Any = getattr(error, "errors", None)  # pydantic's
    if callable(told):
        return "; ".join(str(each.get("msg")) for each in cast(list[dict[str, Any]], told()))
    return (str(error).strip() or type(error).__name__).splitlines()[0]
