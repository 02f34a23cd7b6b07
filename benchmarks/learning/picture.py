"""The picture of a study: training curves of its recipes, and what their models are worth beside the start."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.learning.judged import sampled_areas
from overlay.training import log_file

# What a run's log has of it, the first one that it has: (name, what it is called).
CURVES = (
    ("episodes/success", "episodes that succeed, sampled"), ("rewards/accuracy_reward/mean", "accuracy reward, sampled")
)  # fmt: skip
OVER = 8  # steps of a curve's mean


def smoothed(values: dict[int, float]) -> tuple[list[int], list[float]]:
    """(steps, running means over `OVER` steps) of values by step."""
    steps = list(values)
    ends = range(OVER, len(steps) + 1)
    return [steps[end - 1] for end in ends], [
        sum(values[step] for step in steps[end - OVER : end]) / OVER for end in ends
    ]


def curves(folder: str, sizes: bool) -> dict[str, dict[int, float]]:
    """What is drawn of a run's training: its title → values by step; nothing for a run without rewards."""
    entries, found = log_file.read(Path(folder)), {}
    for name, what in CURVES:
        values = {entry["step"]: entry[name] for entry in entries if name in entry}
        if values and not found:
            found[what] = values
    if found and sizes:
        found["boxes' area / gold's, sampled"] = sampled_areas(Path(folder))
    return found


def draw(
    name: str, before: dict[str, float], results: dict[str, list[dict[str, Any]]], sizes: bool, picture: Path
) -> None:
    """Curves at the left, one line for each seed; then a panel for each figure, a dot for each seed, a line for the
    start."""
    left = 1 + sizes
    figure, panels = plt.subplots(
        1, left + len(before), figsize=(4.2 * left + 1.9 * len(before), 3.4), layout="constrained",
        width_ratios=[2.2] * left + [1] * len(before),
    )  # fmt: skip
    colours = {recipe: f"C{number}" for number, recipe in enumerate(results)}
    for recipe, seeds in results.items():
        for number, one in enumerate(seeds):
            for panel, (what, values) in zip(panels, curves(one["folder"], sizes).items(), strict=False):
                panel.plot(*smoothed(values), color=colours[recipe], label=None if number else recipe)
                panel.set(xlabel="GRPO step", title=what)
    panels[0].legend(frameon=False, fontsize="small")
    for panel, (what, value) in zip(panels[left:], before.items(), strict=True):
        panel.axhline(value, color="grey", linestyle="--", linewidth=1)
        for place, (recipe, seeds) in enumerate(results.items()):
            values = [one[what] for one in seeds]
            panel.plot([place] * len(values), values, "o", color=colours[recipe], alpha=0.6)
            panel.plot([place - 0.25, place + 0.25], [sum(values) / len(values)] * 2, color=colours[recipe])
        top = max([value, *(one[what] for seeds in results.values() for one in seeds)])
        panel.set(title=what, xlim=(-0.6, len(results) - 0.4), ylim=(0, 1.1 * top))
        panel.set_xticks(range(len(results)), list(results), rotation=40, ha="right", fontsize="small")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{name}: the demo's model, dashed: before")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    print(f"picture: {picture}")
