"""New prompts for groups whose completions all got the same reward.

Such a group has no advantage and so no gradient. With `--dynamic_sampling N` up to N more batches are generated, of
prompts drawn from the whole training set, and each group that ranks its completions takes the place of one that does
not (DAPO, arXiv 2503.14476). A batch costs as much as the step's own; ranks generate in lockstep, so asking for part of
one would save little. Logged: `dynamic_sampling/batches` and `dynamic_sampling/dull_groups`, the share left at the end.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad

ALIKE = 1e-6  # rewards closer than this are equal: float32 sums of equal scores
NESTED = "multimodal_inputs"  # where VLM-R1 keeps what the model takes beside token ids
IMAGES = ("pixel_values", "image_grid_thw", "num_images")
OF_PROMPT = ("prompt_ids", "prompt_mask")
OF_BOTH = ("token_type_ids", "mm_token_type_ids")  # prompt and completion in one row


@dataclass
class Batch:
    """This rank's rows, what the trainer's generation made of them, and which of all ranks' groups (groups,) got the
    same reward for each completion."""

    rows: list[dict[str, Any]]
    result: dict[str, Any]
    dull: torch.Tensor


def is_dull(rewards: torch.Tensor) -> torch.Tensor:
    """Of rewards (groups, completions), NaN for none: which groups (groups,) have no gradient."""
    low, high = rewards.nan_to_num(nan=torch.inf).amin(1), rewards.nan_to_num(nan=-torch.inf).amax(1)
    return high - low <= ALIKE


class Refill:
    """`batches`: most extra ones for each batch; `dataset`: where prompts are drawn from; `generations`: completions of
    a prompt; `rank`: this process's number. Its state is the number of draws, so that a resumed run draws on."""

    def __init__(self, batches: int, dataset: Sequence, generations: int, seed: int, rank: int, pad_id: int):
        self.batches, self.dataset, self.generations = batches, dataset, generations
        self.seed, self.rank, self.pad_id = seed, rank, pad_id
        self.draws = 0

    def state_dict(self) -> dict[str, int]:
        """What a resume needs."""
        return {"draws": self.draws}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.draws = state["draws"]

    def __call__(self, batch: Batch, generate: Callable[[list[dict[str, Any]]], Batch]) -> tuple[Batch, int]:
        """(the batch with its dull groups replaced as far as that went, batches that were generated for it)."""
        tried = 0
        images = images_of(batch.rows)
        rows, result, dull = batch.rows, batch.result, batch.dull
        while dull.any() and tried < self.batches:
            fresh = generate(self.draw(len(rows), len(dull)))
            takes, tried = dull & ~fresh.dull, tried + 1
            first = self.rank * len(rows)
            chosen = takes.repeat_interleave(self.generations)[first : first + len(rows)].tolist()
            if any(chosen):
                others = images_of(fresh.rows)
                result = exchanged(result, fresh.result, chosen, (images, others), self.pad_id)
                images = [b if take else a for take, a, b in zip(chosen, images, others, strict=True)]
                rows = [b if take else a for take, a, b in zip(chosen, rows, fresh.rows, strict=True)]
            dull = dull & ~takes
        return Batch(rows, result, dull), tried

    def draw(self, count: int, groups: int) -> list[dict[str, Any]]:
        """This rank's `count` rows of `groups` new prompts, drawn alike on all ranks."""
        chosen = random.Random(f"{self.seed}-{self.draws}").choices(range(len(self.dataset)), k=groups)
        self.draws += 1
        first = self.rank * count
        return [dict(self.dataset[chosen[n // self.generations]]) for n in range(first, first + count)]


def images_of(rows: list[dict[str, Any]]) -> list[int]:
    """How many images each row has."""
    return [len(row["image_path"] or []) for row in rows]


def exchanged(
    kept: dict[str, Any], fresh: dict[str, Any], chosen: list[bool], images: tuple[list[int], list[int]], pad_id: int
) -> dict[str, Any]:
    """One batch of two, row by row: of `fresh` where `chosen`, else of `kept`. Both are what the trainers' generation
    returns; `images` are the numbers of images in their rows. Prompts (B, P) are padded on the left and completions
    (B, C) on the right to the longer of the two."""
    batches = [{**batch, **batch.get(NESTED, {})} for batch in (kept, fresh)]
    lengths = [(batch["prompt_ids"].size(1), batch["completion_ids"].size(1)) for batch in batches]
    prompt, completion = map(max, zip(*lengths, strict=True))
    take = torch.tensor(chosen, device=kept["prompt_ids"].device)

    def widened(name: str, batch: dict[str, Any], own: tuple[int, int]) -> torch.Tensor:
        left, right = prompt - own[0], completion - own[1]
        if name in OF_BOTH:
            types = batch.get(name)  # not there in a batch without images
            return pad(batch["prompt_ids"].new_zeros(len(chosen), sum(own)) if types is None else types, (left, right))
        value, fill = batch[name], pad_id if name.endswith("_ids") else 0
        if name in OF_PROMPT:
            return pad(value, (left, 0), value=fill)
        if value.ndim == 2 and value.size(1) == own[1]:
            return pad(value, (0, right), value=fill)
        return value

    merged = dict(kept)
    for name, value in (batches[0] | batches[1]).items():
        if isinstance(value, torch.Tensor) and value.ndim and name not in IMAGES:
            first, second = (widened(name, *pair) for pair in zip(batches, lengths, strict=True))
            merged[name] = torch.where(take.view(-1, *[1] * (first.ndim - 1)), second, first)
    merged |= _images(batches, chosen, images)
    if NESTED in kept:
        merged[NESTED] = {name: merged.pop(name, None) for name in kept[NESTED] | fresh[NESTED]}
    return merged


def _images(batches: list[dict[str, Any]], chosen: list[bool], images: tuple[list[int], list[int]]) -> dict[str, Any]:
    """pixel_values, image_grid_thw and num_images of the chosen rows; nothing when none of them has an image."""
    rows = []
    for batch, counts in zip(batches, images, strict=True):
        if not sum(counts):
            rows.append([None] * len(counts))
            continue
        grids = batch["image_grid_thw"].split(counts)
        patches = [int(grid.prod(-1).sum()) for grid in grids]
        rows.append(list(zip(batch["pixel_values"].split(patches), grids, strict=True)))
    picked = [second if use else first for use, first, second in zip(chosen, *rows, strict=True)]
    some = [row for row in picked if row is not None]
    if not some:
        return dict.fromkeys(IMAGES[:2])
    pixels, grids = (torch.cat(parts) for parts in zip(*some, strict=True))
    return {
        "pixel_values": pixels,
        "image_grid_thw": grids,
        "num_images": [len(row[1]) if row else 0 for row in picked],
    }
