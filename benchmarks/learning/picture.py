"""The picture of a study: training curves of its recipes, and what their models are worth beside the start."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.learning.judged import sampled_areas
from overlay.training import log_file

# What a run's log has of its reward, the best first: (name, what it is called).
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


def curves(results: dict[str, list[dict[str, Any]]], sizes: bool) -> dict[str, dict[str, dict[int, float]]]:
    """What is drawn of the runs' training: its title → values by step of each run's folder. One reward for all runs
    that have any."""
    logs = {one["folder"]: log_file.read(Path(one["folder"])) for seeds in results.values() for one in seeds}
    found = {}
    for name, what in CURVES:
        found[what] = {
            folder: values
            for folder, entries in logs.items()
            if (values := {entry["step"]: entry[name] for entry in entries if name in entry})
        }
    rewarded = {folder for by_folder in found.values() for folder in by_folder}
    common = next((what for what in found if set(found[what]) == rewarded), CURVES[-1][1])
    shown = {common: found[common]}
    if sizes:
        shown["boxes' area / gold's, sampled"] = {folder: sampled_areas(Path(folder)) for folder in found[common]}
    return shown


def draw(
    name: str, before: dict[str, float], results: dict[str, list[dict[str, Any]]], sizes: bool, picture: Path
) -> None:
    """Curves at the left, one line for each seed; then a panel for each figure, a dot for each seed, a line for the
    start."""
    left, trained = 1 + sizes, curves(results, sizes)
    figure, panels = plt.subplots(
        1, left + len(before), figsize=(4.2 * left + 1.9 * len(before), 3.4), layout="constrained",
        width_ratios=[2.2] * left + [1] * len(before),
    )  # fmt: skip
    colours = {recipe: f"C{number}" for number, recipe in enumerate(results)}
    for recipe, seeds in results.items():
        for number, one in enumerate(seeds):
            for panel, (what, runs) in zip(panels, trained.items(), strict=False):
                if one["folder"] in runs:
                    line = smoothed(runs[one["folder"]])
                    panel.plot(*line, color=colours[recipe], label=None if number else recipe)
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
