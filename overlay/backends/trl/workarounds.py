"""What TRL does that a run with screenshots cannot afford. `install` puts it right in this process; calling it twice is
harmless. tests/training/test_workarounds.py fails when one of them is no longer needed."""

from typing import Any, cast

import torch
from trl.trainer import grpo_trainer

MARK = "_overlay_workaround"


def install(processor: Any, group: int) -> None:
    """All of them; `processor` is the run's, `group` the completions of a prompt."""
    _gather_without_pixels()
    _shuffle_whole_groups(group)
    if hasattr(processor, "image_processor"):
        _take_rows_without_images(type(processor.image_processor))


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
