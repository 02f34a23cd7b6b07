"""Length of a prompt in tokens, images included, from its text and its images' headers: no pixel is decoded."""

from typing import Any

from datasets import Dataset
from tqdm import tqdm

from overlay.action.space import Space
from overlay.data.dataset import batches
from overlay.data.images import size_of
from overlay.prompt.style import PromptStyle

BATCH = 512


def image_tokens(width: int, height: int, processor: Any, max_pixels: int | None = None) -> int:
    """Tokens of an image of width x height pixels after the processor's own resize; `max_pixels`: after ours to that
    limit before it."""
    images = processor.image_processor
    limits = images.size["shortest_edge"], images.size["longest_edge"]
    return Space("original", *limits, images.patch_size * images.merge_size).tokens(width, height, max_pixels or 0)


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
