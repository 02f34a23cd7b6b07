"""Tiny random models of each family from their configs: in memory with batches made of numbers, or as folders with a
processor, which every command takes."""

from pathlib import Path
from typing import Any

import torch
import transformers

IMAGE, VIDEO, START, END, PAD, WORDS = 3, 4, 5, 6, 0, 64
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
TEXT: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "rope_parameters": ROPE,
}  # fmt: skip
THIRD = TEXT | {"head_dim": 8, "rope_parameters": ROPE | {"mrope_interleaved": True}}
VISION: dict[str, Any] = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_heads": 2
}  # fmt: skip
DEEP = VISION | {"depth": 3, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
TALL = THIRD | {"num_hidden_layers": 3}  # a layer above those that DeepStack's features go to
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "decoder_sparse_step": 1}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 2,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "rope_parameters": ROPE | {"mrope_interleaved": True, "partial_rotary_factor": 1.0},
}  # fmt: skip
SHARED = EXPERTS | {"shared_expert_intermediate_size": 16}
GLM = "glm4v"
MARKS = {  # by whether it is GLM's: the tokens around an image or a video
    False: {("vision", "start"): "<|vision_start|>", ("vision", "end"): "<|vision_end|>"},
    True: {(kind, place): f"<|{word}_of_{kind}|>" for kind in ("image", "video")
           for place, word in (("start", "begin"), ("end", "end"))},
}  # fmt: skip
# Name of the classes, text config, vision config.
PARTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", TEXT, {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}),
    "qwen2_5_vl": ("Qwen2_5_VL", TEXT, VISION | {"fullatt_block_indexes": [1], "window_size": 56}),
    "qwen3_vl": ("Qwen3VL", TALL, DEEP),
    "qwen3_vl_moe": ("Qwen3VLMoe", TALL | EXPERTS, DEEP),
    "qwen3_5": ("Qwen3_5", THIRD | LINEAR, VISION | {"num_position_embeddings": 64}),
    "qwen3_5_moe": ("Qwen3_5Moe", THIRD | LINEAR | SHARED, VISION | {"num_position_embeddings": 64}),
    GLM: ("Glm4v", TEXT, VISION | {"image_size": 112}),
}
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", GLM)  # whose prompts are packed
CELLS = {
    "qwen2_vl": 28, "qwen2_5_vl": 28, "qwen3_vl": 32, "qwen3_vl_moe": 32, "qwen3_5": 32, "qwen3_5_moe": 32, GLM: 28,
}  # fmt: skip


def build(family: str, text: dict[str, Any], **tokens: Any) -> Any:
    """An fp32 model; `text` goes over its text config."""
    name, own, vision = PARTS[family]
    config = getattr(transformers, f"{name}Config")(text_config=own | text, vision_config=vision, **tokens)
    return getattr(transformers, f"{name}ForConditionalGeneration")(config)


def make(family: str, seed: int = 0) -> Any:
    """A model whose weights spread log-probs."""
    torch.manual_seed(seed)
    tokens = {
        "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END
    }  # fmt: skip
    model = build(family, {}, **tokens)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    return model.eval()


def write(family: str, folder: Path, texts: list[str], pixels: int = 84 * 112) -> Path:
    """A model's folder with a processor whose tokenizer knows `texts`."""
    processor = make_processor(family, texts, pixels)
    token: Any = processor.tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    end, pad = token("<|im_end|>"), token("<|endoftext|>")
    model = build(
        family, {"vocab_size": len(processor.tokenizer), "eos_token_id": end, "pad_token_id": pad, "bos_token_id": pad},
        image_token_id=processor.image_token_id, video_token_id=processor.video_token_id,
        **{f"{kind}_{place}_token_id": token(name) for (kind, place), name in MARKS[family == GLM].items()},
    )  # fmt: skip
    model.generation_config.eos_token_id = [end, pad]
    model.generation_config.pad_token_id = pad
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_processor(family: str, texts: list[str], pixels: int = 84 * 112) -> Any:
    """A family's processor, whose tokenizer knows `texts`, with images of at most `pixels`."""
    from overlay.demo.chat import CHAT_TEMPLATE
    from overlay.demo.tiny_model import build_tokenizer

    tokenizer, cell = build_tokenizer(texts), CELLS[family]
    if family == GLM:
        tokenizer.add_tokens([*MARKS[True].values(), "<|image|>", "<|video|>"], special_tokens=True)
        image = "<|begin_of_image|><|image|><|end_of_image|>"
        return transformers.Glm4vProcessor(
            transformers.Glm4vImageProcessor(size={"shortest_edge": 2 * cell * cell, "longest_edge": 2 * pixels}),
            tokenizer, transformers.Glm4vVideoProcessor(),
            chat_template=CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", image),
        )  # fmt: skip
    third = family not in ("qwen2_vl", "qwen2_5_vl")
    kind = "Qwen3VL" if third else {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL"}[family]
    images = transformers.Qwen2VLImageProcessor(patch_size=cell // 2, min_pixels=cell * cell, max_pixels=pixels)
    videos = transformers.Qwen3VLVideoProcessor() if third else transformers.Qwen2VLVideoProcessor()
    return getattr(transformers, f"{kind}Processor")(images, tokenizer, videos, chat_template=CHAT_TEMPLATE)


def write_internvl(folder: Path) -> Path:
    """An InternVL in transformers' own format, all but its weights."""
    from overlay.demo.chat import CHAT_TEMPLATE
    from overlay.demo.tiny_model import build_tokenizer

    names = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    words = build_tokenizer(["a word"])
    words.add_tokens(list(names.values()), special_tokens=True)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words.backend_tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        extra_special_tokens=names,
    )  # fmt: skip
    images, videos = transformers.GotOcr2ImageProcessor(), transformers.InternVLVideoProcessor()
    transformers.InternVLProcessor(images, tokenizer, videos, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    transformers.InternVLConfig().save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return folder


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
