"""Each prompt of a batch is processed once, whatever the number of its generations.

Upstream processes every image again for each copy of its prompt in the batch. Ranks do not share:
with a batch of one on each process there is nothing to save, and nothing is lost.
"""

from typing import Any

import torch


class OncePerPrompt:
    """Upstream's VLM module, with `prepare_model_inputs` done once for each different prompt of the batch."""

    def __init__(self, module: Any):
        self.module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def prepare_model_inputs(self, processing_class: Any, prompts_text: list[str], images: list, **options: Any) -> Any:
        """What the module's own method returns for the same arguments, tensor by tensor.

        `images` is flat; each prompt takes as many as it has image tokens. Prompts are the same when their text is
        and their images are the same objects.
        """
        counts = [text.count(processing_class.image_token) for text in prompts_text]
        slots = iter(images)
        own = [[next(slots) for _ in range(count)] for count in counts]
        keys = [(text, *map(id, part)) for text, part in zip(prompts_text, own, strict=True)]
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        order = sorted(first.values())
        if len(order) == len(keys):
            return self.module.prepare_model_inputs(processing_class, prompts_text, images, **options)
        inputs, extra = self.module.prepare_model_inputs(
            processing_class, [prompts_text[n] for n in order], [image for n in order for image in own[n]], **options
        )
        index = [order.index(first[key]) for key in keys]
        grid = inputs.get("image_grid_thw")
        for name, value in inputs.items():
            if name == "image_grid_thw":
                inputs[name] = _repeat(value, [counts[n] for n in order], index)
            elif name == "pixel_values":
                patches = [int(part.prod(-1).sum()) for part in grid.split([counts[n] for n in order])]
                inputs[name] = _repeat(value, patches, index)
            else:
                inputs[name] = value[index]
        return inputs, None if extra is None else [dict(extra[n]) for n in index]


def _repeat(values: torch.Tensor, lengths: list[int], index: list[int]) -> torch.Tensor:
    parts = values.split(lengths)
    return torch.cat([parts[n] for n in index])
