"""Length of a prompt in tokens, images included, from its text and its images' headers: no pixel is decoded."""

from typing import Any

from datasets import Dataset
from tqdm import tqdm

from overlay.action.space import Space, shrunk_size
from overlay.data.dataset import batches
from overlay.data.images import size_of
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle

BATCH = 512
PROBES = ((1080, 2400), (2400, 1080), (10_800, 24_000), (40, 60))  # (width, height): within usual limits and beyond


def image_tokens(width: int, height: int, processor: Any, max_pixels: int | None = None) -> int:
    """Tokens of an image of width x height pixels by the processor's own count; `max_pixels`: after our resize to that
    limit before it."""
    images = processor.image_processor
    if max_pixels:
        width, height = shrunk_size(width, height, max_pixels)
    if hasattr(images, "get_number_of_image_patches"):
        return images.get_number_of_image_patches(height, width) // images.merge_size**2
    return _space_of(images).tokens(width, height)  # transformers before 5


def check_space(space: Space, processor: Any) -> None:
    """SettingError where golds are asked for in pixels of the resized image, and the processor resizes otherwise than
    `Space` does."""
    own = _space_of(processor.image_processor)
    for size in PROBES if space.name == "resized" else ():
        if image_tokens(*size, processor) != own.tokens(*size):
            raise SettingError(
                f"--coordinate_space resized: {type(processor.image_processor).__name__} does not resize an image of "
                f"{size[0]} x {size[1]} as Qwen-VL's processors do: use norm1000 or original"
            )


def _space_of(images: Any) -> Space:
    limits = images.size["shortest_edge"], images.size["longest_edge"]
    return Space("original", *limits, images.patch_size * images.merge_size)


def check_sizes(dataset: Dataset) -> None:
    """DataError at the first row with an image that is missing, broken or of a shape that no processor takes."""
    for batch in tqdm(batches(dataset, BATCH), total=-(-len(dataset) // BATCH), desc="image sizes", delay=2):
        for paths, source in zip(batch["image"], batch["source"], strict=True):
            for path in paths:
                size_of(path, source)


def prompt_lengths(dataset: Dataset, style: PromptStyle, processor: Any) -> list[int]:
    """Prompt length in tokens of every row, as the model gets it (chat template included). Raises DataError."""
    lengths = []
    for batch in tqdm(batches(dataset, BATCH), total=-(-len(dataset) // BATCH), desc="prompt lengths", delay=2):
        texts = []
        for problem, paths in zip(batch["problem"], batch["image"], strict=True):
            messages = style.messages(problem, len(paths))
            texts.append(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        encoded = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for ids, paths, source in zip(encoded, batch["image"], batch["source"], strict=True):
            # Each image already counts one token: its pad mark in the text.
            lengths.append(len(ids) + sum(image_tokens(*size_of(path, source), processor) - 1 for path in paths))
    return lengths
