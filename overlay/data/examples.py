"""Rows of the dataset → training examples: the chat prompt with its images, opened only now.

Used as a dataset transform, so nothing is copied and no image is decoded before its step.
"""

from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset
from PIL import Image

from overlay.action.space import NOTES, ORIGINAL, Scale, Space, image_size, rescale_action, seen_size
from overlay.errors import DataError
from overlay.prompt.template import MARK, SCREENS, SCREENS_MARK, place_images


@dataclass(frozen=True)
class PromptStyle:
    """How a row's text becomes a prompt.

    `template`: GUI template for rows that bring none, None to leave all alone. `question_template`: VLM-R1's template
    of another task type, with `{Question}` in it; its layout is images first. `space`: how the model counts
    coordinates.
    """

    template: str | None = None
    language: str = "zh"
    images_first: bool = False
    question_template: str | None = None
    space: Space = ORIGINAL

    def question(self, problem: str) -> str:
        """The human turn's text. A problem that is only the step's input JSON gets the GUI template in front."""
        if self.question_template is not None:
            marks = MARK * problem.count(MARK)
            return marks + self.question_template.replace("{Question}", problem.replace(MARK, ""))
        if self.template is None or not problem.lstrip().removeprefix(MARK).startswith("{"):
            return problem
        two = problem.count(MARK) == 2
        screens = (two or '"screen_path1": "<image>"' in problem, two or '"screen_path2": "<image>"' in problem)
        return self.template.replace(SCREENS_MARK, SCREENS[self.language][screens]) + problem

    def messages(self, problem: str, images: int) -> list[dict[str, Any]]:
        """Chat messages of a prompt with `images` image slots."""
        note = NOTES[self.language] if self.space.name == "norm1000" else ""
        return [{"role": "user", "content": place_images(note + self.question(problem), images, self.images_first)}]

    def scale(self, paths: list[str], source: str, max_pixels: int = 0) -> Scale:
        """Scale of the current screen, the last image of a row; `max_pixels` where the row has a limit of its own.
        DataError when it cannot be read."""
        if self.space.name == "original" or not paths:
            return 1.0, 1.0
        space = replace(self.space, max_pixels=max_pixels) if max_pixels else self.space
        try:
            return space.scale(*image_size(paths[-1]))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{source}: image {paths[-1]}: {error}") from error


def open_image(path: str, source: str, max_pixels: int = 0) -> Image.Image:
    """RGB image of a row, resized as the processor would under `max_pixels` where the row has a limit of its own;
    DataError names the row when the file is missing or broken."""
    try:
        with Image.open(path) as image:
            whole = image.convert("RGB")
        if not max_pixels:
            return whole
        return whole.resize(seen_size(*whole.size, 0, max_pixels), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{source}: image {path}: {error}") from error


def open_once(opened: dict, paths: list[str], source: str, max_pixels: int = 0) -> list[Image.Image]:
    """A row's images; those that `opened` (path and limit → image) holds are not opened again. A batch holds each
    prompt once for every generation."""
    for path in paths:
        if (path, max_pixels) not in opened:
            opened[path, max_pixels] = open_image(path, source, max_pixels)
    return [opened[path, max_pixels] for path in paths]


def open_images(rows: list[dict[str, Any]], key: str = "image") -> None:
    """Give each row its images (list of PIL images, RGB) under `key`; rows with the same path share one object.

    DataError names the row of a missing or broken image.
    """
    opened: dict = {}
    for row in rows:
        row[key] = open_once(opened, row.get("image_path") or [], row["source"], row.get("max_pixels") or 0)


def _columns(batch: dict[str, list], style: PromptStyle) -> dict[str, list]:
    limits = batch.get("max_pixels") or [0] * len(batch["image"])
    rows = zip(batch["image"], batch["source"], limits, strict=True)
    scales = [style.scale(paths, source, limit) for paths, source, limit in rows]
    pairs = zip(batch["problem"], batch["image"], strict=True)
    return {
        "prompt": [style.messages(problem, len(paths)) for problem, paths in pairs],
        "solution": [rescale_action(gold, scale) for gold, scale in zip(batch["solution"], scales, strict=True)],
        "coordinate_scale": [list(scale) for scale in scales],
        "accu_reward_method": batch["accu_reward_method"],
        "image_path": batch["image"],
        "max_pixels": limits,
        "problem": batch["problem"],
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
    (in the model's space), accu_reward_method, image_path, max_pixels, problem, source. `answer_tags`: the solution in
    `<answer>` tags, as VLM-R1 has it."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        columns = _columns(batch, style)
        if answer_tags:
            columns["solution"] = [f"<answer> {solution} </answer>" for solution in columns["solution"]]
        return columns

    return dataset.with_transform(transform)
