"""The page's pictures and cards: histograms of all rows, some rows with their screens, gold and prompt."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from data_prep.preview.facts import DataFile, Row
from overlay.action.action import parse_action
from overlay.action.space import rescale_action
from overlay.data.images import scale_of, size_of
from overlay.data.lengths import image_tokens
from overlay.data.rows import parse_row
from overlay.pages.drawing import screen, shape, shapes
from overlay.pages.figures import svg
from overlay.pages.groups import SIDE
from overlay.prompt.style import PromptStyle

COLOURS = ("#1f5fd1", "#d9822b", "#1a8f3c", "#8a4fbf")

Prompt = Callable[[list[dict[str, Any]], list[int]], str]  # (messages, tokens of each image) -> what the model reads


@dataclass(frozen=True)
class Shown:
    """How rows become prompts here, what writes one out, a line that says whose they are, and the processor if any."""

    style: PromptStyle
    prompt: Prompt
    said: str
    processor: Any = None

    def tokens(self, width: int, height: int) -> int:
        """Of an image of width x height pixels, as the model's processor counts them."""
        if self.processor is None:
            return self.style.space.tokens(width, height)
        return image_tokens(width, height, self.processor)


def histogram(title: str, unit: str, parts: dict[str, Sequence[float]], log: bool = False) -> str:
    """Shares of each part's values over 30 bins, as inline SVG; a part's name tells how many there are."""
    figure, axes = plt.subplots(figsize=(4.2, 2.5), layout="constrained")
    values = np.array([value for part in parts.values() for value in part], float)
    if len(values):
        low, high = values.min(), values.max()
        edges = np.geomspace(max(low, 1e-3), max(high, low * 2, 1e-2), 31) if log else np.linspace(low, high + 1, 31)
        for colour, (name, part) in zip(COLOURS, parts.items(), strict=False):
            if len(part):
                weights = np.full(len(part), 100 / len(part))
                label = f"{name} ({len(part):,}; median {np.median(part):,.4g})"
                axes.hist(part, edges, weights=weights, histtype="step", color=colour, label=label)
        axes.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=unit, ylabel="% of them")
    axes.set_title(title, fontsize=10, pad=8 + 11 * len(parts))
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def histograms(files: list[DataFile], lengths: dict[str, list[int]] | None, shown: Shown) -> list[str]:
    """The page's histograms; `lengths`: prompts in tokens by file's name, where a processor was given."""

    count = cache(shown.tokens)  # screens have few sizes

    def of(value: Callable[[Row], float | None]) -> dict[str, Sequence[float]]:
        return {name_of(each, files): [v for row in each.rows if (v := value(row)) is not None] for each in files}

    def side(row: Row, n: int) -> float | None:
        return 100 * row.box[n] / row.screen[n] if row.box and row.screen else None

    figures = [histogram("prompts", "tokens, images included", dict(lengths))] if lengths else []
    figures += [
        histogram("questions", "characters", of(lambda row: row.characters)),
        histogram("images of a row", "tokens", of(lambda row: sum(count(*size) for size in row.sizes))),
        histogram("gold answers", "characters", of(lambda row: row.gold_characters)),
        histogram("gold boxes: width", "% of the screen", of(lambda row: side(row, 0)), log=True),
        histogram("gold boxes: height", "% of the screen", of(lambda row: side(row, 1)), log=True),
        histogram("gold boxes: shorter side", "pixels", of(lambda row: min(row.box) if row.box else None), log=True),
    ]
    return figures


def name_of(file: DataFile, files: list[DataFile]) -> str:
    """A file's name among others, with its folder where the name alone does not tell."""
    same = sum(each.path.name == file.path.name for each in files)
    return file.path.name if same == 1 else f"{file.path.parent.name}/{file.path.name}"


def chosen(rows: list[Row], count: int, seed: int) -> list[Row]:
    """Rows to show, in the file's order: one of every action type, the others drawn."""
    order = random.Random(seed).sample(rows, len(rows))
    first = list({row.type: row for row in reversed(order)}.values())
    taken = {row.line: row for row in [*first, *order][: max(count, len(first))]}
    for row in order:
        if len(taken) >= count:
            break
        taken[row.line] = row
    return sorted(taken.values(), key=lambda row: row.line)


def cards(file: DataFile, name: str, count: int, seed: int, shown: Shown) -> list[dict[str, Any]]:
    """What the page shows of some rows of a file; a row is read again where it stands."""
    wanted = {row.line: row for row in chosen(file.rows, count, seed)}
    made = []
    with open(file.path, "rb") as lines:
        for number, line in enumerate(islice(lines, max(wanted, default=0)), 1):
            if number in wanted:
                made.append(
                    _card(
                        parse_row(line, history=shown.style.history_screens, crop=shown.style.history_crop),
                        wanted[number],
                        f"{name}:{number}",
                        shown,
                        file.folder,
                    )
                    | {"file": name}
                )
    return made


def _card(row: dict[str, Any], facts: Row, source: str, shown: Shown, folder: Path) -> dict[str, Any]:
    style = shown.style
    paths = [os.path.abspath(folder / path) for path in row["image"]]
    sizes = [size_of(path, source) for path in paths]
    messages = style.messages(row["problem"], len(paths))
    box, scale = facts.box, scale_of(style, paths, source)
    further = [shape(parse_action(text), "also") for text in row["also"]]
    return {
        "source": source, "type": facts.type, "asked": facts.asked, "gold": row["solution"],
        "told": rescale_action(row["solution"], scale), "also": [rescale_action(text, scale) for text in row["also"]],
        "screens": [screen(path, SIDE) for path in paths],
        "names": [f"{'/'.join(Path(path).parts[-2:])}, {w} × {h}" for path, (w, h) in zip(paths, sizes, strict=True)],
        "shapes": shapes(*further, shape(parse_action(row["solution"]), "gold")),
        "box": f"{box[0]:g} × {box[1]:g} px" if box else "",
        "prompt": shown.prompt(messages, [shown.tokens(*size) for size in sizes]),
    }  # fmt: skip
