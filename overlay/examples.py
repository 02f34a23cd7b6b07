"""Rows of the dataset → training examples: the chat prompt with its images, opened only now.

Used as a dataset transform, so nothing is copied and no image is decoded before its step.
"""

from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from PIL import Image

from overlay.arrow import DataError
from overlay.prompt import MARK, SCREENS, SCREENS_MARK, place_images


@dataclass(frozen=True)
class PromptStyle:
    """How a row's text becomes a prompt. `template`: GUI template for rows that bring none, None to leave all alone."""

    template: str | None = None
    language: str = "zh"
    images_first: bool = False

    def question(self, problem: str) -> str:
        """The human turn's text. A problem that is only the step's input JSON gets the template in front."""
        if self.template is None or not problem.lstrip().removeprefix(MARK).startswith("{"):
            return problem
        two = problem.count(MARK) == 2
        screens = (two or '"screen_path1": "<image>"' in problem, two or '"screen_path2": "<image>"' in problem)
        return self.template.replace(SCREENS_MARK, SCREENS[self.language][screens]) + problem

    def messages(self, problem: str, images: int) -> list[dict[str, Any]]:
        """Chat messages of a prompt with `images` image slots."""
        return [{"role": "user", "content": place_images(self.question(problem), images, self.images_first)}]


def open_image(path: str, source: str) -> Image.Image:
    """RGB image of a row; DataError names the row when the file is missing or broken."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{source}: image {path}: {error}") from error


def as_examples(dataset: Dataset, style: PromptStyle) -> Dataset:
    """View of `overlay.dataset` rows as trainer examples: prompt (messages), images (PIL), solution,
    accu_reward_method, image_path, problem, source."""

    def transform(batch: dict[str, list]) -> dict[str, list]:
        rows = range(len(batch["problem"]))
        return {
            "prompt": [style.messages(batch["problem"][i], len(batch["image"][i])) for i in rows],
            "images": [[open_image(path, batch["source"][i]) for path in batch["image"][i]] for i in rows],
            "solution": batch["solution"],
            "accu_reward_method": batch["accu_reward_method"],
            "image_path": batch["image"],
            "problem": batch["problem"],
            "source": batch["source"],
        }

    return dataset.with_transform(transform)
