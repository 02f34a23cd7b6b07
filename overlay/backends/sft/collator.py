"""Rows → a batch to imitate: prompts as GRPO shows them, and the completion that each should be answered with."""

import zlib
from dataclasses import replace
from typing import Any

import torch

from overlay.action.action import answer_text
from overlay.action.completion import ANSWER_TAG
from overlay.data.images import open_images
from overlay.prompt.style import PromptStyle

KEPT = ("source", "image_path", "problem", "solution")


def is_direct(row: dict[str, Any], share: float, seed: int) -> bool:
    """Whether a row is answered without thinking: it has none, or it is of the `share` that is shown so. Follows from
    the row's content and the seed, so ranks, epochs and resumed runs agree."""
    if not row.get("thinking"):
        return True
    return zlib.crc32(f"{seed} {row['problem']} {row['solution']}".encode()) < share * 2**32


def completion_of(row: dict[str, Any], direct: bool) -> tuple[str, str]:
    """(thinking, answer) as the model should write them; thinking is empty where the answer is `direct`.

    >>> completion_of({"thinking": "a menu", "solution": "7"}, False)
    ('<think>a menu</think>', '<answer>7</answer>')
    """
    answer = answer_text(row["solution"], row.get("answer_format") or ANSWER_TAG)
    return "" if direct else f"<think>{row['thinking']}</think>", answer


class Collator:
    """Rows of `overlay.data.examples.as_rows` → `input_ids` and `attention_mask` (B, P + C): prompts padded on the
    left, completions on the right, as in GRPO's batches; `weights` (B, C): of the completions' tokens, 0 for
    padding; what the model takes beside (images, token types), and `rows`, what is told of a row whose loss is no
    number.

    A completion ends with the tokenizer's end token, which generation stops at. Its tokens are made apart from the
    prompt's, as they come in generation. A row that is answered without thinking is not asked for it (`style`: the
    rows').
    """

    def __init__(
        self,
        processor: Any,
        answer_weight: float = 1.0,
        direct_share: float = 0.0,
        seed: int = 0,
        style: PromptStyle | None = None,
    ):
        self.style = style or PromptStyle()
        self.direct = replace(self.style, thinking=False)
        self.processor, self.tokenizer = processor, getattr(processor, "tokenizer", processor)
        self.answer_weight, self.direct_share, self.seed = answer_weight, direct_share, seed

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        open_images(rows, "images")
        texts = [
            self.processor.apply_chat_template(self.prompt(row), tokenize=False, add_generation_prompt=True)
            for row in rows
        ]
        images = [image for row in rows for image in row["images"]]
        batch = dict(self.processor(
            text=texts, images=images or None, padding=True, padding_side="left", return_tensors="pt",
        ))  # fmt: skip
        found = [self.tokens(row) for row in rows]
        width = max(len(ids) for ids, _ in found)
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        weights = torch.zeros(len(rows), width)
        for row, (own, weight) in enumerate(found):
            ids[row, : len(own)], weights[row, : len(own)] = torch.tensor(own), torch.tensor(weight)
        batch["input_ids"] = torch.cat([batch["input_ids"], ids], 1)
        batch["attention_mask"] = torch.cat([batch["attention_mask"], (weights > 0).long()], 1)
        if "mm_token_type_ids" in batch:
            types = batch["mm_token_type_ids"]
            batch["mm_token_type_ids"] = torch.nn.functional.pad(types, (0, width))
        return batch | {"weights": weights, "rows": [{name: row[name] for name in KEPT} for row in rows]}

    def is_direct(self, row: dict[str, Any]) -> bool:
        """Whether a row is answered without thinking: as its run is, or see the function of this name."""
        return not self.style.thinking or is_direct(row, self.direct_share, self.seed)

    def prompt(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """A row's chat messages, which ask for what its completion has."""
        return self.direct.messages(row["problem"], len(row["image_path"])) if self.is_direct(row) else row["prompt"]

    def tokens(self, row: dict[str, Any]) -> tuple[list[int], list[float]]:
        """(ids, weights) of a row's completion: 1 for its thinking, `answer_weight` for the answer and the end."""
        thinking, answer = completion_of(row, self.is_direct(row))
        made = self.tokenizer(thinking + answer, add_special_tokens=False, return_offsets_mapping=True)
        weights = [self.answer_weight if end > len(thinking) else 1.0 for _, end in made["offset_mapping"]]
        return [*made["input_ids"], self.tokenizer.eos_token_id], [*weights, self.answer_weight]
