"""Generation that prefills each prompt once and samples all of its completions from the repeated cache.

Trainers hand `generate` every prompt as often as it has completions, and it computes the prompt, images and all, for
each copy. `share_prefill` puts a pass over the different prompts in front; sampling then goes on from a cache that
holds all but the last token of each. The draws are the same ones in the same order, so the same seed gives the same
completions, as far as rounding lets it.
"""

from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache

from overlay.model.features import ImageFeatures
from overlay.model.packing import Rows

PER_TOKEN = ("mm_token_type_ids", "token_type_ids")
KNOWN = {"input_ids", "attention_mask", "pixel_values", "image_grid_thw", "generation_config", *PER_TOKEN}


def share_prefill(model: Any, features: ImageFeatures) -> None:
    """Make a model's `generate` prefill each different prompt of its batch once; calls that it does not know (beams,
    a cache of their own, other inputs) are the model's own. `model`: out of its wrappers and its adapter's."""

    @wraps(type(model).generate)
    def generate(self: Any, *args: Any, **inputs: Any) -> Any:
        given = {name: value for name, value in inputs.items() if value is not None}
        own = self is features.model  # and no copy of it
        if args or not own or not given.keys() <= KNOWN or not _shareable(self, given):
            return type(self).generate(self, *args, **inputs)
        return type(self).generate(self, **_prefilled(self, features, given))

    model.generate = MethodType(generate, model)


def _shareable(model: Any, inputs: dict[str, Any]) -> bool:
    if model.training and model.is_gradient_checkpointing:  # it keeps no cache
        return False
    ids, config = inputs.get("input_ids"), inputs.get("generation_config")
    if ids is None or ids.size(0) < 2 or ids.size(1) < 2 or "attention_mask" not in inputs or config is None:
        return False
    plain = config.num_beams in (None, 1) and config.num_return_sequences in (None, 1)
    return plain and config.use_cache is not False and config.cache_implementation is None


@torch.no_grad()
def _prefilled(model: Any, features: ImageFeatures, inputs: dict[str, Any]) -> dict[str, Any]:
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    rows = Rows(model, ids, mask, 0, inputs.get("pixel_values"), inputs.get("image_grid_thw"))
    groups = rows.groups()
    first = [members[0] for members in groups]
    index = torch.empty(len(ids), dtype=torch.long, device=ids.device)
    for number, members in enumerate(groups):
        index[members] = number
    chosen = torch.tensor(first, device=ids.device)
    width = ids.size(1) - 1
    whole = [rows.positions(row) for row in first]
    positions = torch.stack([pad(own[:, :-1], (width - own.size(1) + 1, 0)) for own in whole], 1)
    with features.inputs(*rows.images(first)) as seen:
        cache = model(
            input_ids=ids[chosen, :-1], attention_mask=mask[chosen, :-1], position_ids=positions, use_cache=True,
            past_key_values=DynamicCache(config=model.config.get_text_config()), logits_to_keep=1, **seen,
        ).past_key_values  # fmt: skip
    cache.batch_select_indices(index)
    # From the number of a token in its row to its position, for `generate` to go on.
    deltas = torch.stack([own.max() + 1 - own.size(1) for own in whole])
    rows.inner.rope_deltas = deltas[index, None]
    return {
        "input_ids": ids, "attention_mask": mask, "past_key_values": cache,
        "generation_config": inputs["generation_config"],
    }  # fmt: skip
