"""A trainer's passes over packed rows: which model takes them, and whose features of the images they use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers.integrations import is_deepspeed_zero3_enabled

from overlay.model.features import ImageFeatures
from overlay.model.packing import Packed, Rows, why_not
from overlay.model.prefill import share_prefill
from overlay.model.shared_attention import install
from overlay.model.vision import vision_tower

TAKEN = {"pixel_values", "image_grid_thw", "mm_token_type_ids", "num_images"}  # what a packed row can stand for


class SharedPasses:
    """`wanted`: by --share_prompts. `refused`: why the ordinary passes are taken, None when packed ones are."""

    def __init__(self, model: Any, reference: Any, accelerator: Any, wanted: bool):
        self.accelerator = accelerator
        base = self._base(model)
        self.refused = why_not(base) if wanted else "--share_prompts false"
        if self.refused is not None:
            return
        install()
        self.features = ImageFeatures(base, self._agree)
        self.of_reference = self.features
        if reference is not None and not self._same_tower(base, self._base(reference)):
            self.of_reference = ImageFeatures(self._base(reference), self._agree)
        self.reference = None if reference is None else self._base(reference)
        share_prefill(base, self.features)

    def takes(self, inputs: dict[str, Any]) -> bool:
        """Whether a packed row can stand for a batch with these inputs beside its tokens."""
        return self.refused is None and {name for name, value in inputs.items() if value is not None} <= TAKEN

    def rows(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, kept: int, inputs: dict[str, Any]) -> Rows:
        """The batch, ready to be packed; see `Rows`."""
        images = inputs.get("pixel_values"), inputs.get("image_grid_thw")
        return Rows(self.features.model, input_ids, attention_mask, kept, *images)

    @contextmanager
    def images(self, model: Any, packed: Packed) -> Iterator[dict[str, Any]]:
        """What the forward of `model`, as the trainer has it, is given for the images of a packed row."""
        features = self.of_reference if self._base(model) is self.reference else self.features
        with features.inputs(packed.pixel_values, packed.image_grid_thw) as inputs:
            yield inputs

    def clear(self) -> None:
        """Forget the images: the next batch has others."""
        if self.refused is None:
            self.features.clear()
            self.of_reference.clear()

    def _base(self, model: Any) -> Any:
        inner = self.accelerator.unwrap_model(model)
        return inner.get_base_model() if hasattr(inner, "get_base_model") else inner

    def _cut_up(self) -> bool:
        """Whether a module's weights come together only where every rank runs it."""
        return is_deepspeed_zero3_enabled() or self.accelerator.distributed_type == DistributedType.FSDP

    def _agree(self, known: bool) -> bool:
        if not self._cut_up():
            return known
        told = torch.tensor([known], device=self.accelerator.device)
        return bool(self.accelerator.gather(told).all())

    def _same_tower(self, first: Any, second: Any) -> bool:
        """Whether two models' towers give the same features; cut up, no rank can see a whole one."""
        towers = [vision_tower(each) for each in (first, second)]
        if self._cut_up() or None in towers:
            return False
        own, other = (each[1].state_dict() for each in towers if each)
        return own.keys() == other.keys() and all(torch.equal(own[name], other[name].to(own[name])) for name in own)
