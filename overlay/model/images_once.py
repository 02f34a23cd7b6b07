"""Each image of a call is processed once, however often it stands in it.

Symptom: trainers hand the image processor every image once for each completion of its prompt, and it resizes,
normalises and cuts up each copy (trl 1.16, VLM-R1): of two screens for sixteen completions thirty in vain. Drop this
when they hand over prompts.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

MARK = "_overlay_once"
GRIDS, PIXELS = "image_grid_thw", "pixel_values"


def process_once(kind: Any) -> None:
    """Let image processors of a class take the same image object several times for the price of once. Calling it twice
    is harmless; processors whose tensors are not patches with their grids go on as they were."""
    if not hasattr(kind.__call__, MARK):
        kind.__call__ = _once(kind.__call__)


def _once(theirs: Callable) -> Callable:
    @wraps(theirs)
    def call(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        flat = _flat(images)
        first: dict[int, int] = {}
        index = [first.setdefault(id(image), len(first)) for image in flat]
        if args or len(first) == len(flat):
            return theirs(self, images, *args, **kwargs)
        own = {id(image): image for image in flat}
        output = theirs(self, [own[key] for key in first], *args, **kwargs)
        if set(output.keys()) != {PIXELS, GRIDS} or not isinstance(output[GRIDS], torch.Tensor):
            return theirs(self, images, *args, **kwargs)
        grids = output[GRIDS]
        parts = output[PIXELS].split(grids.prod(-1).tolist())
        output[PIXELS], output[GRIDS] = torch.cat([parts[n] for n in index]), grids[index]
        return output

    setattr(call, MARK, True)
    return call


def _flat(images: Any) -> list[Any]:
    if not isinstance(images, (list, tuple)):
        return [images]
    return [image for part in images if part is not None for image in _flat(part)]
