"""Held-out scores: greedy answers of a model folder, on the true screens and on others."""

import os
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForImageTextToText

from data_prep.convert import convert
from overlay.data.dataset import each_row, load_dataset
from overlay.data.examples import as_rows
from overlay.data.images import size_of
from overlay.demo.looks import LOOKS, changed, two_screens
from overlay.evaluate import baselines
from overlay.metrics.flags import Metric, gold_action, measure
from overlay.metrics.rules.step import Screen
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.rewards.action import gui_action_reward

MODEL = Path(__file__).with_name("model")
TASKS = Path(__file__).resolve().parents[2] / "data_prep" / "phone" / "tasks"
BATCH, MOST_TOKENS = 64, 96
RANDOM_DRAWS = 50
CHANGED_EVERY = 3  # every third row is asked with changed screens too


def rows_of(out: Path, split: str) -> Dataset:
    """Rows of one split of our own pages' steps, as `make data` writes them, loaded."""
    file = out / f"{split}.jsonl"
    convert(TASKS / split, file, load_template("zh"), workers=os.cpu_count() or 1)
    return load_dataset(str(file), str(TASKS / split), "gui_action", out / "arrow")


@dataclass(frozen=True)
class Truth:
    """What rows ask for, in the model's space: gold actions (JSON), `screens` for the rules, sizes of the screens."""

    solutions: list[str]
    screens: list[Screen]
    sizes: list[tuple[float, float]]


def truth_of(rows: Dataset, style: PromptStyle) -> Truth:
    """The truth of rows of `overlay.data.dataset`."""
    shown = as_rows(rows, style)[:]
    scales = [(x, y) for x, y in shown["coordinate_scale"]]
    sizes = [size_of(row["image"][-1], row["source"]) for row in each_row(rows)]
    screens = [Screen(size, scale) for size, scale in zip(sizes, scales, strict=True)]
    return Truth(shown["solution"], screens, [(w, h) for w, h in shown["screen_size"]])


def figures(answers: list[str], truth: Truth) -> dict[str, Metric]:
    """Metrics of `measure`, and the mean gui_action reward."""
    completions = [[{"role": "assistant", "content": text}] for text in answers]
    rewards = gui_action_reward(completions, solution=truth.solutions, screen_size=truth.sizes)
    metrics = measure(answers, truth.solutions, truth.screens)
    return {**metrics, "mean_reward": Metric(sum(rewards) / len(rewards), len(rewards))}


def without_a_model(truth: Truth) -> dict[str, dict[str, Metric]]:
    """Figures of `make eval`'s baselines on the rows, `random` over `RANDOM_DRAWS` draws."""
    draws = [text for draw in range(RANDOM_DRAWS) for text in baselines.guess(truth.sizes, draw)]
    many = Truth(truth.solutions * RANDOM_DRAWS, truth.screens * RANDOM_DRAWS, truth.sizes * RANDOM_DRAWS)
    golds = [gold_action(gold) for gold in truth.solutions]
    return {"random": figures(draws, many), "majority": figures(baselines.majority(golds, truth.sizes), truth)}


@dataclass(frozen=True)
class Scored:
    """Answers of a model to all rows, their figures, and of each look `(figures, figures of the same rows with their
    own screens)`."""

    answers: list[str]
    figures: dict[str, Metric]
    looks: dict[str, tuple[dict[str, Metric], dict[str, Metric]]]

    def fall(self, look: str) -> float:
        """How much lower grounding is with these screens."""
        without, own = self.looks[look]
        return own["grounding_accuracy"].value - without["grounding_accuracy"].value


class Scorer:
    """Scores model folders on the same rows. `out`: where pictures of changed screens go."""

    def __init__(self, rows: Dataset, style: PromptStyle, out: Path):
        self.rows, self.style = rows, style
        self.truth = truth_of(rows, style)
        some = rows.select(range(0, len(rows), CHANGED_EVERY))
        self.looks = {look: changed(some, look, out) for look in LOOKS}
        self.own = dict.fromkeys(LOOKS, some) | {"swapped": some.select(two_screens(some))}

    def scored(self, folder: Path, name: str) -> Scored:
        """The answers of the model in `folder` and their figures."""
        processor = load_processor(str(folder))
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")

        def ask(rows: Dataset, about: str) -> list[str]:
            return complete(model, processor, rows, self.style, BATCH, MOST_TOKENS, progress=f"{name}, {about}")

        answers = ask(self.rows, "held-out answers")
        by_row, looks = dict(zip(self.rows["source"], answers, strict=True)), {}
        for look, rows in self.looks.items():
            truth = truth_of(self.own[look], self.style)
            own = [by_row[row] for row in self.own[look]["source"]]
            looks[look] = figures(ask(rows, f"{look} screens"), truth), figures(own, truth)
        return Scored(answers, figures(answers, self.truth), looks)
