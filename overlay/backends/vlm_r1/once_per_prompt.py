"""Each prompt of a batch is opened and processed once, whatever the number of its generations. For both trainers.

Upstream opens, decodes and processes every image again for each copy of its prompt in the batch. Ranks do not share:
with a batch of one on each process there is nothing to save, and nothing is lost.
"""

from typing import Any

import torch

from overlay.data.examples import open_once


def open_images(rows: list[dict[str, Any]], key: str = "image") -> None:
    """Give each row its images (list of PIL images, RGB) under `key`; rows with the same path share one object.

    DataError names the row of a missing or broken image.
    """
    opened: dict = {}
    for row in rows:
        row[key] = open_once(opened, row.get("image_path") or [], row["source"], row.get("max_pixels") or 0)


class OpenImages:
    """Mixin in front of a GRPO trainer: a batch's images are opened when it is generated, under the key that the
    trainer reads. TRL's loader fetches each row again for every micro-step; its images need not be."""

    image_key = "image"

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        open_images(inputs, self.image_key)
        return super()._generate_and_score_completions(inputs, *model)


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
