"""A frozen vision tower's features of each image, computed once between two generations.

Generation, old, reference and policy pass show the model the same images, and a tower that does not learn gives the
same features each time. They are kept by the images' content and handed to the model's forward as
`mm_encoder_outputs` (transformers 5; for Qwen3-VL with the DeepStack features). Only whole passes are served: where one
image is new, the tower runs for all of the pass, so that under ZeRO-3 or FSDP it runs on every rank or on none
(`agree`).
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from overlay.model.vision import ENCODED, vision_tower

LIMIT = 2 << 30  # bytes of features, and of the pixels that tell them apart


@dataclass(frozen=True)
class _Kept:
    pixels: torch.Tensor
    pooled: torch.Tensor
    deepstack: tuple[torch.Tensor, ...]


class ImageFeatures:
    """The features of one model's tower. `agree(all_known) -> bool`: whether all ranks say so."""

    def __init__(self, model: Any, agree: Callable[[bool], bool], limit: int = LIMIT):
        self.model, self.agree, self.limit = model, agree, limit
        found = vision_tower(model)
        self.tower = found[1] if found else None
        self.takes = found is not None and ENCODED in inspect.signature(found[0].forward).parameters
        self.kept: dict[tuple, list[_Kept]] = {}
        self.bytes = 0

    @property
    def usable(self) -> bool:
        """Whether the tower stays as it is, and the model takes its features."""
        return self.takes and not any(p.requires_grad for p in self.tower.parameters())  # pyright: ignore

    def clear(self) -> None:
        """Forget all images: new ones follow."""
        self.kept, self.bytes = {}, 0

    @contextmanager
    def inputs(self, pixel_values: torch.Tensor | None, grids: torch.Tensor | None) -> Iterator[dict[str, Any]]:
        """What a forward pass over these images (patches, width) and (images, 3) is given: their pixels, whose features
        are kept as they come by, or the features."""
        own = {} if pixel_values is None else {"pixel_values": pixel_values, "image_grid_thw": grids}
        if not self.usable:
            yield own
            return
        parts = [] if pixel_values is None else list(pixel_values.split(grids.prod(-1).tolist()))  # pyright: ignore
        keys = [] if grids is None else [_key(*each) for each in zip(parts, grids.tolist(), strict=True)]
        found = [self._find(key, pixels) for key, pixels in zip(keys, parts, strict=True)]
        if self.agree(all(each is not None for each in found)):
            yield {ENCODED: _encoded(found)}
            return
        outputs: list[Any] = []
        handle = self.tower.register_forward_hook(lambda module, args, output: outputs.append(output))  # pyright: ignore
        try:
            yield own
        finally:
            handle.remove()
        if parts and outputs:
            self._keep(keys, parts, outputs[-1])

    def _find(self, key: tuple, pixels: torch.Tensor) -> _Kept | None:
        return next((each for each in self.kept.get(key, []) if torch.equal(each.pixels, pixels)), None)

    def _keep(self, keys: list[tuple], parts: list[torch.Tensor], output: Any) -> None:
        pooled, deep = output.pooler_output, getattr(output, "deepstack_features", None) or []
        if isinstance(pooled, torch.Tensor):  # the model cuts it up behind the tower, on the same object
            return
        for number, (key, pixels) in enumerate(zip(keys, parts, strict=True)):
            entry = _Kept(pixels, pooled[number].detach(), tuple(layer[number].detach() for layer in deep))
            size = sum(each.numel() * each.element_size() for each in (pixels, entry.pooled, *entry.deepstack))
            if self._find(key, pixels) is None and self.bytes + size <= self.limit:
                self.kept.setdefault(key, []).append(entry)
                self.bytes += size


def _key(pixels: torch.Tensor, grid: list[int]) -> tuple:
    """Tells most images apart; those that share it are compared."""
    return (*grid, pixels.sum(dtype=torch.float64).item())


def _encoded(found: list[Any]) -> dict[str, Any]:
    """`mm_encoder_outputs` of images that are all kept; empty without images, which still spares the blank pass."""
    if not found:
        return {}
    deepstack = list(zip(*(each.deepstack for each in found), strict=True))
    return {"image": _Output(tuple(each.pooled for each in found), deepstack)}


@dataclass
class _Output:
    """As transformers' BaseModelOutputWithDeepstackFeatures, of which a model reads these."""

    pooler_output: tuple[torch.Tensor, ...]
    deepstack_features: list[tuple[torch.Tensor, ...]]
