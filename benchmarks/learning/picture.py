"""The picture of a study: training curves of its recipes, and what their models are worth beside the start."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from overlay.training import log_file

# What a run's log has of it, the first one that it has: (name, what it is called).
CURVES = (
    ("episodes/success", "episodes that succeed, sampled"), ("rewards/accuracy_reward/mean", "accuracy reward, sampled")
)  # fmt: skip
OVER = 8  # steps of a curve's mean


def curve(folder: str) -> tuple[str, list[int], list[float]]:
    """(what, steps, running means over `OVER` steps) of a run's log; nothing for a run without rewards."""
    entries = log_file.read(Path(folder))
    for name, what in CURVES:
        values = [(entry["step"], entry[name]) for entry in entries if name in entry]
        if values:
            last = range(OVER, len(values) + 1)
            means = [sum(value for _, value in values[end - OVER : end]) / OVER for end in last]
            return what, [values[end - 1][0] for end in last], means
    return "", [], []


def draw(name: str, before: dict[str, float], results: dict[str, list[dict[str, Any]]], picture: Path) -> None:
    """Curves at the left, one line for each seed; then a panel for each figure, a dot for each seed, a line for the
    start."""
    figure, panels = plt.subplots(1, 1 + len(before), figsize=(4.2 + 2.1 * len(before), 3.4), layout="constrained",
                                  width_ratios=[2, *[1] * len(before)])  # fmt: skip
    colours = {recipe: f"C{number}" for number, recipe in enumerate(results)}
    for recipe, seeds in results.items():
        for number, one in enumerate(seeds):
            what, steps, means = curve(one["folder"])
            if steps:
                panels[0].plot(steps, means, color=colours[recipe], label=None if number else recipe)
                panels[0].set(xlabel="GRPO step", title=what)
    panels[0].legend(frameon=False, fontsize="small")
    for panel, (what, value) in zip(panels[1:], before.items(), strict=True):
        panel.axhline(value, color="grey", linestyle="--", linewidth=1)
        for place, (recipe, seeds) in enumerate(results.items()):
            values = [one[what] for one in seeds]
            panel.plot([place] * len(values), values, "o", color=colours[recipe], alpha=0.6)
            panel.plot([place - 0.25, place + 0.25], [sum(values) / len(values)] * 2, color=colours[recipe])
        panel.set(title=what, xlim=(-0.6, len(results) - 0.4), ylim=(0, None))
        panel.set_xticks(range(len(results)), list(results), rotation=30, ha="right")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{name}: the demo's model, dashed: before")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
    print(f"picture: {picture}")
