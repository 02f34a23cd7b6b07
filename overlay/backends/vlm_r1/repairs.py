"""What makes upstream's trainer class run, and run rightly, on today's releases. Not one of its methods is copied.

Each part says its symptom and when it can go. `overlay/backends/vlm_r1/module.py` mends what the trainer asks of its
VLM module.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from PIL import Image

from overlay.backends.vlm_r1.module import TOKEN_TYPES, Module
from overlay.model.folder import config_of

Base = cast(Any, object)  # VLMGRPOTrainer stands behind the mixin
OUTPUT = "lm_head"
SMALLEST = 28  # pixels of an image's shorter side, as upstream has it


class Repaired(Base):
    """Mixin right in front of VLMGRPOTrainer. `module_class`: what goes around upstream's VLM module."""

    module_class = Module

    def __init__(self, *, vlm_module: Any, model: str, peft_config: Any = None, **kwargs: Any):
        if peft_config is not None and _is_tied(model):
            peft_config.exclude_modules = [OUTPUT]
        super().__init__(vlm_module=self.module_class(vlm_module), model=model, peft_config=peft_config, **kwargs)
        self.accelerator.gather_for_metrics = partial(self._gather_for_metrics, self.accelerator.gather_for_metrics)

    def _gather_for_metrics(self, upstream: Callable[..., Any], values: Any, *args: Any, **kwargs: Any) -> Any:
        """accelerate's, which at the end of an epoch leaves out what it takes for rows that were repeated to fill the
        batch; a training batch has none.

        Symptom: the KL logged in an epoch's last step was that of some ranks only, and another one after a resume. Drop
        when upstream gathers the metrics of training with `gather`.
        """
        return upstream(values, *args, **kwargs) if not self.model.training else self.accelerator.gather(values)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """Upstream's, which does not take the dataset that newer releases of Trainer hand over. Drop when it does."""
        return super()._get_train_sampler()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        """Upstream's, with small images enlarged before, and `multimodal_inputs` for the whole sequence after."""
        enlarge(inputs)
        result = super()._generate_and_score_completions(inputs, *model)
        length = result["prompt_ids"].size(1) + result["completion_ids"].size(1)
        result["multimodal_inputs"] = over_completion(result["multimodal_inputs"], length)
        return result

    def _get_per_token_logps(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, prompt_length: int, **inputs: Any
    ) -> torch.Tensor:
        """Upstream's, with token types for the whole of `input_ids` (B, L); it has no use for `prompt_length`."""
        inputs = over_completion(inputs, input_ids.size(1))
        return super()._get_per_token_logps(model, input_ids, attention_mask, **inputs)


def _is_tied(model: str) -> bool:
    """Whether a model's output layer is its embedding, as in Qwen2.5-VL-3B.

    Symptom: upstream adapts the output layer too; merged into a tied one (for vLLM, by `make merge`) the adapter
    changes the embedding of the prompt as well, and the model answers otherwise: log-probs differ by 0.8. Drop when
    upstream leaves a tied layer out.
    """
    return bool(config_of(model).get("tie_word_embeddings"))


def over_completion(inputs: dict[str, Any], length: int) -> dict[str, Any]:
    """Model inputs with `mm_token_type_ids` (B, up to `length`) continued to (B, `length`): completions are text.

    Without any they are left out, since older models take none. Symptom: upstream does not hand them over, transformers
    5 then gives images the positions of text, and log-probs differ from those of generation by 4e-4 on a tiny model,
    5e-7 with them. Drop when upstream hands over all that the processor returns.
    """
    types = inputs.get(TOKEN_TYPES)
    rest = {name: value for name, value in inputs.items() if name != TOKEN_TYPES}
    if types is None:
        return rest
    return rest | {TOKEN_TYPES: torch.nn.functional.pad(types, (0, length - types.size(1)))}


def enlarge(rows: list[dict[str, Any]]) -> None:
    """Give rows whose images are open (`image`, a list) none that is smaller than upstream's least, in its own way: the
    shorter side 28 pixels, the other in proportion. One image in several rows stays one object.

    Symptom: upstream's resize stands outside its size test and a bare except hides the NameError, so after one small
    image all later ones of a batch get its size. Drop when upstream resizes inside the test.
    """
    found = {id(image): image for row in rows for image in row.get("image") or []}
    large = {key: _enlarged(image) for key, image in found.items()}
    for row in rows:
        if row.get("image"):
            row["image"] = [large[id(image)] for image in row["image"]]


def _enlarged(image: Image.Image) -> Image.Image:
    width, height = image.size
    if min(width, height) >= SMALLEST:
        return image
    if width < height:
        size = SMALLEST, int(height * (SMALLEST / width))
    else:
        size = int(width * (SMALLEST / height)), SMALLEST
    return image.resize(size, Image.Resampling.LANCZOS)
