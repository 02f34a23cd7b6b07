"""Rows of the dataset → training examples: the chat prompt with its images, opened only now.

Used as a dataset transform, so nothing is copied and no image is decoded before its step.
"""

from datasets import Dataset

from overlay.action.space import rescale_action
from overlay.data.images import open_once, scale_of, size_of
from overlay.prompt.style import PromptStyle


def example_columns(batch: dict[str, list], style: PromptStyle) -> dict[str, list]:
    """Columns of `as_rows` for columns of `overlay.data.dataset`. Raises DataError."""
    limits = batch.get("max_pixels") or [0] * len(batch["image"])
    rows = list(zip(batch["image"], batch["source"], limits, strict=True))
    scales = [scale_of(style, *row) for row in rows]
    pairs = zip(batch["problem"], batch["image"], strict=True)
    sizes = [size_of(paths[-1], source) if paths else (1, 1) for paths, source, _ in rows]
    further = batch.get("also") or [None] * len(rows)
    return {
        "prompt": [style.messages(problem, len(paths)) for problem, paths in pairs],
        "solution": [rescale_action(gold, scale) for gold, scale in zip(batch["solution"], scales, strict=True)],
        "also": [[rescale_action(each, s) for each in golds or ()] for golds, s in zip(further, scales, strict=True)],
        "coordinate_scale": [list(scale) for scale in scales],
        "screen_size": [[w * sx, h * sy] for (w, h), (sx, sy) in zip(sizes, scales, strict=True)],
        "accu_reward_method": batch["accu_reward_method"],
        "image_path": batch["image"],
        "max_pixels": limits,
        "problem": batch["problem"],
        "elements": batch["elements"],
        "group": batch["group"],
        "answer_format": [style.answer_format] * len(rows),
        "thinking": batch.get("thinking") or [""] * len(batch["image"]),
        "source": batch["source"],
    }


def as_examples(dataset: Dataset, style: PromptStyle) -> Dataset:
    """View of `overlay.data.dataset` rows as examples: those of `as_rows`, without tags, with their images (PIL)."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        columns = example_columns(batch, style)
        rows = zip(columns["image_path"], columns["source"], columns["max_pixels"], strict=True)
        opened: dict = {}
        return {**columns, "images": [open_once(opened, *row) for row in rows]}

    return dataset.with_transform(transform)


def as_rows(dataset: Dataset, style: PromptStyle, answer_tags: bool = False) -> Dataset:
    """View of `overlay.data.dataset` rows as the trainers take them: prompt (messages), solution, also (further right
    answers), coordinate_scale and screen_size (of the current screen, in the model's space), accu_reward_method,
    image_path, max_pixels, problem, elements (in pixels of the original screenshot), group, answer_format
    (that the prompt asks for), thinking, source.
    `answer_tags`: the solution in `<answer>` tags, as VLM-R1 has it."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        columns = example_columns(batch, style)
        if answer_tags:
            columns["solution"] = [f"<answer> {solution} </answer>" for solution in columns["solution"]]
        return columns

    return dataset.with_transform(transform)
