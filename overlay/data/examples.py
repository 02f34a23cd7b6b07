"""Rows of the dataset → training examples: the chat prompt with its images, opened only now.

Used as a dataset transform, so nothing is copied and no image is decoded before its step.
"""

from datasets import Dataset

from overlay.action.space import rescale_action
from overlay.data.images import open_once, scale_of
from overlay.prompt.style import PromptStyle


def _columns(batch: dict[str, list], style: PromptStyle) -> dict[str, list]:
    limits = batch.get("max_pixels") or [0] * len(batch["image"])
    rows = zip(batch["image"], batch["source"], limits, strict=True)
    scales = [scale_of(style, *row) for row in rows]
    pairs = zip(batch["problem"], batch["image"], strict=True)
    return {
        "prompt": [style.messages(problem, len(paths)) for problem, paths in pairs],
        "solution": [rescale_action(gold, scale) for gold, scale in zip(batch["solution"], scales, strict=True)],
        "coordinate_scale": [list(scale) for scale in scales],
        "accu_reward_method": batch["accu_reward_method"],
        "image_path": batch["image"],
        "max_pixels": limits,
        "problem": batch["problem"],
        "elements": batch["elements"],
        "group": batch["group"],
        "source": batch["source"],
    }


def as_examples(dataset: Dataset, style: PromptStyle) -> Dataset:
    """View of `overlay.data.dataset` rows as examples: those of `as_rows`, without tags, with their images (PIL)."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        columns = _columns(batch, style)
        rows = zip(columns["image_path"], columns["source"], columns["max_pixels"], strict=True)
        opened: dict = {}
        return {**columns, "images": [open_once(opened, *row) for row in rows]}

    return dataset.with_transform(transform)


def as_rows(dataset: Dataset, style: PromptStyle, answer_tags: bool = False) -> Dataset:
    """View of `overlay.data.dataset` rows as the trainers take them: prompt (messages), solution and coordinate_scale
    (in the model's space), accu_reward_method, image_path, max_pixels, problem, elements (in pixels of the original
    screenshot), group, source. `answer_tags`: the solution in `<answer>` tags, as VLM-R1 has it."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        columns = _columns(batch, style)
        if answer_tags:
            columns["solution"] = [f"<answer> {solution} </answer>" for solution in columns["solution"]]
        return columns

    return dataset.with_transform(transform)
