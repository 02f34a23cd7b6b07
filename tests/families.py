"""Tiny random models of each family from their configs, and batches for them; no processor, no tokenizer."""

from typing import Any

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

IMAGE, VIDEO, START, END, PAD, WORDS = 3, 4, 5, 6, 0, 64
TEXT: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096,
}  # fmt: skip
TOKENS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


def qwen2_vl() -> Any:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config=TEXT | {"rope_parameters": ROPE}, vision_config=vision, **TOKENS)
    return Qwen2VLForConditionalGeneration(config)


def qwen2_5_vl() -> Any:
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_heads": 2,
        "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=TEXT | {"rope_parameters": ROPE}, vision_config=vision, **TOKENS)
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen3_vl() -> Any:
    vision = {
        "depth": 3, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_heads": 2,
        "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64,
    }  # fmt: skip
    rope = ROPE | {"mrope_interleaved": True}
    config = Qwen3VLConfig(text_config=TEXT | {"head_dim": 8, "rope_parameters": rope}, vision_config=vision, **TOKENS)
    return Qwen3VLForConditionalGeneration(config)


FAMILIES = {"qwen2_vl": qwen2_vl, "qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl}


def make(family: str, seed: int = 0) -> Any:
    """An fp32 model whose weights spread log-probs."""
    torch.manual_seed(seed)
    model = FAMILIES[family]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    return model.eval()


def patch_width(model: Any) -> int:
    """Numbers of one patch of pixel values."""
    config = model.config.vision_config
    return getattr(config, "in_channels", 3) * config.temporal_patch_size * config.patch_size**2


def batch(model: Any, rows: list[tuple[int, list[tuple[int, int]], int]], width: int, seed: int = 0) -> dict[str, Any]:
    """Inputs of rows (which prompt, its images' merged cells across and down, completion tokens): prompts padded on the
    left, completions to `width` on the right. The prompt's number seeds its text and its pixels."""
    merge = model.config.vision_config.spatial_merge_size
    prompts, completions, pixels, grids = [], [], [], []
    words = torch.Generator().manual_seed(seed)
    for number, images, length in rows:
        own = torch.Generator().manual_seed(1000 + number)
        ids = torch.randint(8, WORDS, (3 + number,), generator=own).tolist()
        for across, down in images:
            ids += [START, *[IMAGE] * (across * down), END]
            grids.append([1, down * merge, across * merge])
            pixels.append(torch.randn(across * down * merge**2, patch_width(model), generator=own))
        ids += torch.randint(8, WORDS, (4,), generator=own).tolist()
        prompts.append(ids)
        completions.append(torch.randint(8, WORDS, (length,), generator=words).tolist())
    longest = max(map(len, prompts))
    ids, mask = [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        left, right = longest - len(prompt), width - len(completion)
        ids.append([PAD] * left + prompt + completion + [PAD] * right)
        mask.append([0] * left + [1] * (len(prompt) + len(completion)) + [0] * right)
    inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if pixels:
        inputs |= {"pixel_values": torch.cat(pixels), "image_grid_thw": torch.tensor(grids)}
    return inputs
