"""Upstream's VLM module class (`vlm_modules/`: what a model family needs) as the trainer may use it.

The trainer asks its module for the model class, the processor's tensors and the names of those that the model takes. So
what is wrong or missing there is mended here, around whichever class upstream's script chose.
"""

import inspect
from itertools import islice
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from overlay.model.folder import config_of

TOKEN_TYPES, PROMPT_LENGTH = "mm_token_type_ids", "prompt_length"
GRIDS, PIXELS = "image_grid_thw", "pixel_values"
NAMES = {"qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL"}  # model type → what upstream looks for in a path


class Module:
    """Upstream's module object, its defects mended; everything else is its own.

    - Qwen's model class is chosen by the config's model type. Upstream looks for names in the path: a checkpoint in
      output/run1 is refused, and Qwen3-VL has no name there. Drop when it reads the config.
    - `use_cache` is taken out of the arguments of from_pretrained, which have none in transformers 5 (gradient
      checkpointing turns it off on the config), and models get the `warnings_issued` that upstream writes to and that
      release took away. Drop when upstream runs on it.
    - The class is registered with AutoModelForCausalLM, by which upstream loads the reference under ZeRO-3 and which
      does not know Qwen2.5-VL. Drop when upstream loads it with the model class.
    - Each sample gets the grids of its own images: upstream hands out one for each image of the batch, and two images
      in a sample fail its assertion. A single image keeps its plain grid, which the IoU reward indexes. Drop when
      upstream trains samples of several images (its issues 317, 342).
    - The log-prob pass gets `mm_token_type_ids` (B, P), of which transformers 5 makes the M-RoPE positions (without
      them images silently count as text), and `prompt_length`, P in tokens: see `overlay.backends.vlm_r1.repairs`.
    - GLM's `get_eos_token_id` wants a model, which the trainer does not hand over: TypeError at every start. It is
      hidden here, so that generation stops at the model's own end tokens, as Qwen's does. Drop when upstream
      hands it over.
    """

    def __init__(self, module: Any):
        self.module = module
        self.has_grids = GRIDS in module.get_custom_multimodal_keywords()
        self.shown: list[list[Any]] = []  # images of each prompt of the last batch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if name == "get_eos_token_id" and "model" in inspect.signature(found).parameters:
            raise AttributeError(name)
        return found

    def get_model_class(self, model_id: str, model_init_kwargs: dict[str, Any]) -> type:
        """Class to load `model_id` with. ValueError names the type of a model that upstream does not train."""
        name = model_id
        if self.module.get_vlm_key() == "qwen":
            model_type = config_of(model_id)["model_type"]
            name = NAMES.get(model_type, model_type)
        model_init_kwargs.setdefault("trust_remote_code", False)  # nor may anyone be asked in the middle of a run
        later = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(name)
        found = getattr(transformers, later) if later else self.module.get_model_class(name, model_init_kwargs)
        model_init_kwargs.pop("use_cache", None)
        if issubclass(found, PreTrainedModel):  # InternVL's AutoModel brings its own class for both
            AutoModelForCausalLM.register(found.config_class, found, exist_ok=True)
        return found

    def post_model_init(self, model: Any, processing_class: Any) -> None:
        """Upstream's; called with the model, then with the reference or None."""
        self.module.post_model_init(model, processing_class)
        if model is not None and not hasattr(model, "warnings_issued"):
            model.warnings_issued = {}

    def get_custom_multimodal_keywords(self) -> list[str]:
        """Names of what the log-prob pass takes beside token ids; None stands for those that a batch has not."""
        return [*self.module.get_custom_multimodal_keywords(), TOKEN_TYPES, PROMPT_LENGTH]

    def get_non_generate_params(self) -> list[str]:
        """Names of the inputs that generation does not take."""
        return [*self.module.get_non_generate_params(), PROMPT_LENGTH]

    def prepare_model_inputs(
        self, processing_class: Any, prompts_text: list[str], images: list, **options: Any
    ) -> tuple[Any, list[dict[str, torch.Tensor]] | None]:
        """(tensors of B prompts with their flat list of images, for each prompt what rewards get beside its row)."""
        if self.has_grids:
            # Before the call: older processors change the list that they are given.
            counts = [text.count(processing_class.image_token) for text in prompts_text]
            left = iter(images)
            self.shown = [list(islice(left, count)) for count in counts]
            inputs, more = self._with_grids(processing_class, prompts_text, images, counts, options)
        else:
            inputs, more = self.module.prepare_model_inputs(processing_class, prompts_text, images, **options)
        inputs[PROMPT_LENGTH] = inputs["input_ids"].size(1)
        return inputs, more

    def _with_grids(
        self, processing_class: Any, prompts_text: list[str], images: list, counts: list[int], options: dict[str, Any]
    ) -> tuple[Any, list[dict[str, torch.Tensor]] | None]:
        inputs, more = self.module.prepare_model_inputs(processing_class, prompts_text, images, **options)
        if more is None:
            return inputs, None
        grids = inputs[GRIDS].split(counts)
        return inputs, [{GRIDS: grid[0] if len(grid) == 1 else grid} for grid in grids]
