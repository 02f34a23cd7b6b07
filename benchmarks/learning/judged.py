"""What a trained model is worth: greedy answers on the demo's held-out steps, or episodes in a browser."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

from datasets import Dataset
from transformers import AutoModelForImageTextToText

from benchmarks.learning.recipes import LEFT_OUT, PLAYED
from benchmarks.learning.runs import command
from overlay.action.action import BOX_TYPES, Action, Box, as_box, iou, parse_action
from overlay.demo.score import BATCH, MOST_TOKENS, Truth, figures
from overlay.metrics.flags import gold_action
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle

EPISODES = 16  # of each kind of page


def boxes(pairs: list[tuple[Action | None, Action]]) -> dict[str, float]:
    """Of clicks that are answered by the gold's type with a box: the geometric mean of its area over the gold's, and
    the mean IoU."""
    found = [
        (as_box(answer.coordinates), as_box(gold.coordinates))
        for answer, gold in pairs
        if answer and gold.type in BOX_TYPES and answer.type == gold.type and answer.coordinates and gold.coordinates
    ]
    areas = [ratio for box, gold in found if (ratio := _area(box) / _area(gold)) > 0]
    overlaps = [iou(box, gold) for box, gold in found]
    return {"area": geometric_mean(areas) if areas else 0.0, "iou": mean(overlaps or [0.0])}


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def sampled_areas(folder: Path) -> dict[int, float]:
    """Of a run's sampled clicks: `boxes`' area at each step, from its rollouts."""
    pairs = defaultdict(list)
    for file in sorted((folder / "rollouts").glob("*.jsonl")):
        for line in file.open(encoding="utf-8"):
            record = json.loads(line)
            pairs[record["step"]].append((parse_action(record["completion"]), gold_action(record["solution"])))
    return {step: boxes(found)["area"] for step, found in sorted(pairs.items())}


def answered(folder: Path, rows: Dataset, truth: Truth, style: PromptStyle) -> dict[str, float]:
    """Figures of a model's greedy answers to the rows."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
    texts = complete(model, load_processor(str(folder)), rows, style, BATCH, MOST_TOKENS, progress=folder.name)
    golds = [gold_action(solution) for solution in truth.solutions]
    found = {name: metric.value for name, metric in figures(texts, truth).items()}
    names = {"grounding_accuracy": "hits", "step_success_rate": "steps", "action_type_accuracy": "types"}
    return {names[name]: found[name] for name in names} | boxes([*zip(map(parse_action, texts), golds, strict=True)])


def played(folder: Path, out: Path) -> dict[str, float]:
    """Success of `EPISODES` episodes on each kind of page: those that live training has, and those that it leaves
    out."""
    tasks, metrics = [*PLAYED, *LEFT_OUT], out / "metrics.json"
    asked = ("--model", folder, "--pages", "phone", "--tasks", *tasks, "--episodes", EPISODES, "--out", out)
    command("make play", "-m", "overlay.play.run", *asked, "--workers", 4, "--max_tokens", MOST_TOKENS)
    by_task: dict[str, dict[str, Any]] = json.loads(metrics.read_text(encoding="utf-8"))["by_task"]
    return {
        "trained kinds": mean(by_task[task]["success_rate"] for task in PLAYED),
        "other kinds": mean(by_task[task]["success_rate"] for task in LEFT_OUT),
    }
