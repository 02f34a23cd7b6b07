"""Every rank runs the vision tower in every forward pass, with or without an image.

Symptom: under ZeRO-3 a rank whose rows have no image never gathers the vision tower's parameters, and the ranks whose
rows have images wait for it until NCCL gives up (upstream.md's eighteenth defect; upstream mends it in a copy of an
older forward). Under DDP the tower's gradients are missing on that rank. Drop this when transformers' forward runs the
tower on text-only batches by itself.
"""

from typing import Any

import torch

VISION = "visual"
ENCODED = "mm_encoder_outputs"  # a forward's argument in place of pixel values


def vision_tower(model: torch.nn.Module) -> tuple[Any, Any] | None:
    """(the module whose forward takes pixel values, its vision tower) of a model, or None when it has none."""
    for module in model.modules():
        if isinstance(getattr(module, VISION, None), torch.nn.Module) and hasattr(module, "language_model"):
            return module, getattr(module, VISION)
    return None


def freeze_vision(model: torch.nn.Module) -> int:
    """Take the vision tower's parameters (adapters on it too) out of training; returns how many tensors that are."""
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


def take_any_rows(model: Any, processes: int) -> None:
    """Let a model train on rows with and without images, alone or as one of several processes."""
    leave_out_no_images(model)
    if processes > 1:
        keep_in_step(model)


class Nothing(torch.autograd.Function):
    """0 of any tensor, whose gradient is 0 too. 0 times a sum would be no number where the sum is none, as in fp16
    beyond 65,504."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values)
        return values.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(ctx.saved_tensors[0])


def keep_in_step(model: torch.nn.Module) -> None:
    """Make forward passes without pixel values run the vision tower on a blank image and add `Nothing` of its features.

    The order of modules is that of a pass with images: embedding, vision tower, language model. Calling it twice is
    harmless; a model without a vision tower is left alone.
    """
    found = vision_tower(model)
    if found is None or hasattr(found[0], "_vision_pass"):
        return
    inner, tower = found
    inner._vision_pass = False  # whether the pass under way needs a blank image

    def look(module: Any, args: tuple, inputs: dict[str, Any]) -> None:
        cache = inputs.get("past_key_values")
        decoding = cache is not None and cache.get_seq_length() > 0
        pixels = [inputs.get(name) for name in ("pixel_values", "pixel_values_videos")]
        encoded = inputs.get(ENCODED) is not None  # no rank runs the tower (`overlay.model.features`)
        module._vision_pass = not decoding and not encoded and all(each is None or not each.numel() for each in pixels)

    def add(module: torch.nn.Module, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        if inner._vision_pass:
            embeds = inputs["inputs_embeds"]
            inputs["inputs_embeds"] = embeds + Nothing.apply(blank_features(tower)).to(embeds.dtype)
        return args, inputs

    # prepend: before DeepSpeed's own hooks, so that both kinds of rank gather the same modules in the same order.
    inner.register_forward_pre_hook(look, prepend=True, with_kwargs=True)
    inner.language_model.register_forward_pre_hook(add, prepend=True, with_kwargs=True)


def leave_out_no_images(model: torch.nn.Module) -> None:
    """Make forward passes take pixel values of no image at all for none: a trainer that cuts a batch of rows with and
    without images into parts hands them to a part of text only. Calling it twice is harmless."""
    found = vision_tower(model)
    if found is None or hasattr(found[0], "_takes_none"):
        return
    found[0]._takes_none = True

    def drop(module: Any, args: tuple, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        pixels = inputs.get("pixel_values")
        if pixels is not None and not pixels.numel():
            inputs = inputs | {"pixel_values": None, "image_grid_thw": None}
        return args, inputs

    found[0].register_forward_pre_hook(drop, with_kwargs=True)


def blank_features(tower: Any) -> torch.Tensor:
    """Features of one blank image of 2 x 2 merged patches, those that DeepStack hands to later layers with them."""
    config = tower.config
    side = 2 * config.spatial_merge_size
    patch = getattr(config, "in_channels", 3) * config.temporal_patch_size * config.patch_size**2
    weight = next(tower.parameters())
    pixels = torch.zeros(side * side, patch, device=weight.device, dtype=weight.dtype)
    output = tower(pixels, grid_thw=torch.tensor([[1, side, side]], device=weight.device))
    parts = [getattr(output, "pooler_output", output), *(getattr(output, "deepstack_features", None) or [])]
    return torch.cat([part.flatten() for part in parts])
