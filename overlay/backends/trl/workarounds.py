"""What TRL does that a run with screenshots cannot afford. `install` puts it right in this process; calling it twice is
harmless. tests/training/test_workarounds.py fails when one of them is no longer needed."""

import logging
from functools import partial, wraps
from typing import Any, cast

import torch
from trl.generation import vllm_client, vllm_generation
from trl.trainer import grpo_trainer

from overlay.errors import SettingError, UserError
from overlay.training.vllm_agreement import USE, dtype_of, one_pad_an_image, reason_of, same_prompts, weights_of

MARK = "_overlay_workaround"


def install(processor: Any, group: int) -> None:
    """All of them; `processor` is the run's, `group` the completions of a prompt."""
    _gather_without_pixels()
    _shuffle_whole_groups(group)
    if hasattr(processor, "image_processor"):
        _take_rows_without_images(type(processor.image_processor))


def install_for_vllm() -> None:
    """Those of generation with vLLM, for both backends' use of TRL's engine."""
    _one_pad_an_image()
    _start_as_the_trainer_computes()
    _forget_encoded_images()
    _read_token_ids()


def install_for_episodes() -> None:
    """Symptom: for each batch with a completion that has no score TRL prints a whole row of it, screens and all; a slot
    that no rollout reaches has none by design (trl 1.16, `_calculate_rewards`). Drop this when that can be told."""
    logger = logging.getLogger(grpo_trainer.__name__)
    if _told_of_no_score not in logger.filters:
        logger.addFilter(_told_of_no_score)


def _told_of_no_score(record: logging.LogRecord) -> bool:
    return "All reward functions returned None" not in str(record.msg)


def _one_pad_an_image() -> None:
    """Symptom: in colocate mode TRL hands vLLM the processor's ids, in which each image has all its tokens, and vLLM
    expands the first of them again: it samples from another prompt, exit 0, gradient 6e-15 (huggingface/trl issues
    6294, 6401, pull request 6718). A server does want the expanded ids. Drop this when TRL hands over
    one pad an image."""
    theirs = vllm_generation.VLLMGeneration.generate
    if hasattr(theirs, MARK):
        return

    @wraps(theirs)
    def generate(self: Any, prompts: list[list[int]], images: Any, *args: Any, **kwargs: Any) -> Any:
        token = getattr(self.processing_class, "image_token_id", None)
        if self.mode != "colocate" or token is None or not images:
            return theirs(self, prompts, images, *args, **kwargs)
        asked = [one_pad_an_image(ids, token) for ids in prompts]
        seen, *rest = theirs(self, asked, [each or None for each in images], *args, **kwargs)
        same_prompts(prompts, seen)
        return prompts, *rest

    setattr(generate, MARK, True)
    vllm_generation.VLLMGeneration.generate = generate


def _start_as_the_trainer_computes() -> None:
    """Symptom: TRL gives vLLM no dtype, and vLLM casts weights in fp32 to bf16 while the trainer computes in fp32:
    log-probs differ by 2e-3 where 1e-7 would do. And what an engine or a server cannot do ends in a traceback; here it
    is one line, before training. Drop this when TRL hands over a dtype."""
    theirs = vllm_generation.VLLMGeneration._init_vllm
    if hasattr(theirs, MARK):
        return

    @wraps(theirs)
    def start(self: Any) -> None:
        llm = getattr(vllm_generation, "LLM", None)
        if llm is not None:
            vllm_generation.LLM = partial(llm, dtype=dtype_of(self.model, self.accelerator))
        try:
            theirs(self)
            if self.mode == "colocate":
                weights_of(self.llm)
        except UserError:
            raise
        except Exception as error:
            raise SettingError(f"{USE}: vLLM did not start: {reason_of(error)}") from error
        finally:
            if llm is not None:
                vllm_generation.LLM = llm

    setattr(start, MARK, True)
    vllm_generation.VLLMGeneration._init_vllm = start


def _forget_encoded_images() -> None:
    """Symptom: after new weights TRL empties vLLM's prefix cache only; the cache of encoded images, by their pixels,
    keeps what the vision tower made with old weights, and a screen that comes again is sampled from with it: log-probs
    differ by 1.7 after one large step. A server's is `overlay.training.vllm_server`'s to empty. Drop this when TRL (or
    vLLM, with the prefix cache) empties both."""
    theirs = vllm_generation.VLLMGeneration.sync_weights
    if hasattr(theirs, MARK):
        return

    @wraps(theirs)
    def sync_weights(self: Any) -> None:
        theirs(self)
        if self.mode == "colocate":
            self.llm.llm_engine.reset_encoder_cache()

    setattr(sync_weights, MARK, True)
    vllm_generation.VLLMGeneration.sync_weights = sync_weights


def _read_token_ids() -> None:
    """Symptom: vLLM 0.32's generate endpoint names sampled tokens by `token_id`, a number; TRL 1.16's client reads
    `token`, the text `token_id:<number>`: KeyError. Drop this when TRL reads both."""
    theirs = vllm_client.parse_logprobs
    if hasattr(theirs, MARK):
        return

    @wraps(theirs)
    def parse_logprobs(choices: list[dict[str, Any] | None]) -> Any:
        for entry in (entry for choice in choices if choice for entry in choice.get("content") or []):
            for each in (entry, *(entry.get("top_logprobs") or [])):
                if "token" not in each and "token_id" in each:
                    each["token"] = f"token_id:{each['token_id']}"
            entry["top_logprobs"] = entry.get("top_logprobs") or []
        return theirs(choices)

    setattr(parse_logprobs, MARK, True)
    vllm_client.parse_logprobs = parse_logprobs


def _gather_without_pixels() -> None:
    """Symptom: for its table of completions TRL gathers all prompts to all ranks at every step, whatever it logs, and
    their messages hold the images: two screens of 1080 x 2400 are 15 MB a rank (trl 1.16, `_generate_and_score_
    completions`). Drop this when it gathers text only."""
    if hasattr(grpo_trainer.gather_object, MARK):
        return
    gather_object = grpo_trainer.gather_object

    def gather_light(objects: list[Any]) -> list[Any]:
        return gather_object([without_pixels(value) for value in objects])

    setattr(gather_light, MARK, True)
    grpo_trainer.gather_object = gather_light


def _shuffle_whole_groups(group: int) -> None:
    """Symptom: between generation and training TRL shuffles the completions of a rank (trl 1.16, `_prepare_inputs`), so
    with several micro-batches none has a whole group, and each computes the prompts of all. Groups change places here,
    what is in them stays together. Drop this when TRL shuffles prompts."""
    theirs: Any = getattr(grpo_trainer.shuffle_sequence_dict, MARK, grpo_trainer.shuffle_sequence_dict)

    def shuffle(batch: dict[str, Any]) -> dict[str, Any]:
        rows = len(next(value for value in batch.values() if value is not None))
        if rows % group:
            return theirs(batch)
        order: Any = theirs({"n": torch.arange(rows).view(-1, group)})["n"]
        return {name: _taken(value, order.flatten()) for name, value in batch.items()}

    setattr(shuffle, MARK, theirs)
    grpo_trainer.shuffle_sequence_dict = cast(Any, shuffle)


def _taken(value: Any, order: torch.Tensor) -> Any:
    if value is None or (isinstance(value, torch.Tensor) and not value.ndim):
        return value
    return value[order] if isinstance(value, torch.Tensor) else [value[n] for n in order.tolist()]


def _take_rows_without_images(kind: Any) -> None:
    """Symptom: in a batch of rows with and without images TRL hands the processor None for the latter, which it refuses
    ("only a single or a list of entries is supported but got type=NoneType", trl 1.16 with transformers 5.23). Drop
    this when TRL hands over images only, or the processor takes None for none."""
    if hasattr(kind.fetch_images, MARK):
        return
    fetch = kind.fetch_images

    def fetch_images(self: Any, images: Any) -> Any:
        if isinstance(images, (list, tuple)) and any(part is None for part in images):
            images = [part for part in images if part is not None]
        return fetch(self, images)

    setattr(fetch_images, MARK, True)
    kind.fetch_images = fetch_images


def without_pixels(value: Any) -> Any:
    """Chat messages, in lists however deep, with the images' slots left empty."""
    if isinstance(value, list):
        return [without_pixels(part) for part in value]
    if isinstance(value, dict):
        return {name: without_pixels(part) for name, part in value.items() if name != "image"}
    return value
