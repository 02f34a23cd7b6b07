"""New prompts for groups whose completions all got the same reward. A mixin of both trainers.

Such a group has no advantage and so no gradient. With `--dynamic_sampling N` up to N more batches are generated, of
prompts drawn from the whole training set, and each group that ranks its completions takes the place of one that does
not (DAPO, arXiv 2503.14476). A batch costs as much as the step's own; ranks generate in lockstep, so asking for part of
one would save little. Logged: `dynamic_sampling/batches` and `dynamic_sampling/dull_groups`, the share left at the end.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad

ALIKE = 1e-6  # rewards closer than this are equal: float32 sums of equal scores
NESTED = "multimodal_inputs"  # where VLM-R1 keeps what the model takes beside token ids
IMAGES = ("pixel_values", "image_grid_thw", "num_images")
OF_PROMPT = ("prompt_ids", "prompt_mask")
OF_BOTH = ("token_type_ids", "mm_token_type_ids")  # prompt and completion in one row


@dataclass(kw_only=True)
class DynamicSamplingArguments:
    """What happens to groups without a gradient. For both backends."""

    dynamic_sampling: int = field(
        default=0,
        metadata={"help": "Most batches of new prompts generated in place of groups with equal rewards; 0: none."},
    )


class DynamicSampling:
    """Mixin in front of RewardLog. `dynamic_sampling`: most extra batches for each one."""

    def __init__(self, *args: Any, dynamic_sampling: int = 0, **kwargs: Any):
        self._extra_batches = dynamic_sampling
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict], *model: Any) -> dict[str, Any]:
        result = super()._generate_and_score_completions(inputs, *model)
        if not self._extra_batches or not self.model.training:
            return result
        dull, batches = self._dull(), 0
        images = [len(row["image_path"] or []) for row in inputs]
        while dull.any() and batches < self._extra_batches:
            rows = self._other_rows(len(inputs), len(dull), batches)
            fresh = super()._generate_and_score_completions(rows, *model)
            takes, batches = dull & ~self._dull(), batches + 1
            mine = takes.repeat_interleave(self.num_generations)
            first = self.accelerator.process_index * len(inputs)
            chosen = mine[first : first + len(inputs)].tolist()
            others = [len(row["image_path"] or []) for row in rows]
            if any(chosen):
                result = merge(result, fresh, chosen, (images, others), self._pad_id())
                images = [b if take else a for take, a, b in zip(chosen, images, others, strict=True)]
            dull = dull & ~takes
        if "num_items_in_batch" in result:
            result["num_items_in_batch"] = self.accelerator.gather(result["completion_mask"].sum()).sum()
        self._record("dynamic_sampling/batches", float(batches))
        self._record("dynamic_sampling/dull_groups", dull.float().mean().item())
        return result

    def _dull(self) -> torch.Tensor:
        rewards = self.group_rewards()
        return rewards.amax(1) - rewards.amin(1) <= ALIKE

    def _pad_id(self) -> int:
        return getattr(self.processing_class, "tokenizer", self.processing_class).pad_token_id

    def _other_rows(self, count: int, groups: int, batch: int) -> list[dict[str, Any]]:
        """This rank's rows of `groups` prompts, drawn alike on all ranks and again after a resume."""
        draw = random.Random(f"{self.args.seed}-{self.state.global_step}-{self._step}-{batch}")
        prompts = draw.choices(range(len(self.train_dataset)), k=groups)
        first = self.accelerator.process_index * count
        return [dict(self.train_dataset[prompts[n // self.num_generations]]) for n in range(first, first + count)]


def merge(
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
        value, fill = batch.get(name), pad_id if name.endswith("_ids") else 0
        if name in OF_BOTH:  # not there in a batch without images
            return pad(batch["prompt_ids"].new_zeros(len(chosen), sum(own)) if value is None else value, (left, right))
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
