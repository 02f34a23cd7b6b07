"""Held-out rows with other screens: what a model that looks fails on, and one that does not look would not notice.

- *grey*: every screen is an even grey of its size;
- *another's*: the screens of another row with as many;
- *swapped*: the previous screen in the place of the current one and the other way round (rows with two).
"""

import random
from collections import defaultdict
from pathlib import Path

from datasets import Dataset
from PIL import Image

from overlay.data.images import size_of

LOOKS = ("grey", "another's", "swapped")


def with_screens(rows: Dataset, images: list[list[str]]) -> Dataset:
    """Rows with other image paths."""
    return rows.remove_columns("image").add_column("image", images)  # pyright: ignore[reportCallIssue]


def changed(rows: Dataset, look: str, folder: Path) -> Dataset:
    """The rows with their screens changed, those that the look is about. Grey pictures go into `folder`."""
    images = list(rows["image"])
    if look == "grey":
        return with_screens(rows, [[_grey(path, folder) for path in paths] for paths in images])
    if look == "another's":
        return with_screens(rows, _anothers(images))
    rows = rows.select(two_screens(rows))
    return with_screens(rows, [paths[::-1] for paths in rows["image"]])


def two_screens(rows: Dataset) -> list[int]:
    """Numbers of the rows with two different screens."""
    return [number for number, paths in enumerate(rows["image"]) if len(paths) == 2 and paths[0] != paths[1]]


def _grey(path: str, folder: Path) -> str:
    size = size_of(path, path)
    file = folder / f"grey-{size[0]}x{size[1]}.png"
    if not file.exists():
        Image.new("RGB", size, "#808080").save(file)
    return str(file)


def _anothers(images: list[list[str]]) -> list[list[str]]:
    alike: dict[int, list[int]] = defaultdict(list)
    for number, paths in enumerate(images):
        alike[len(paths)].append(number)
    found = list(images)
    for numbers in alike.values():
        drawn = random.Random(0).sample(numbers, len(numbers))
        for number, other in zip(drawn, drawn[1:] + drawn[:1], strict=True):  # each another's, none its own
            found[number] = images[other]
    return found
