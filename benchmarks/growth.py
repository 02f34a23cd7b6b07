"""The picture of a step's seconds and memory as its prompt, generations or images grow, a line for each side."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Point = tuple[int, ...]


def draw(
    results: dict[Point, dict[str, dict[str, Any]]],
    growth: dict[str, tuple[int, list[Point]]],
    lines: dict[str, tuple[str, str]],
    title: str,
    picture: Path,
) -> None:
    """Draw `results` (point → side → figures of `measure`, with `added_peak`). `growth`: what grows → (its place in a
    point, the points); `lines`: side → (colour, style)."""
    figure, panels = plt.subplots(2, len(growth), figsize=(10.5, 6), squeeze=False)
    for column, (what, (place, points)) in enumerate(growth.items()):
        across = [point[place] for point in points]
        for line, (key, unit, scale) in enumerate((("seconds", "s", 1.0), ("added_peak", "GB", 1e9))):
            panel = panels[line][column]
            for side, (colour, style) in lines.items():
                values = [results[point][side][key] / scale for point in points]
                panel.plot(across, values, style, color=colour, label=side)
            panel.set_ylim(bottom=0)
            panel.set_xticks(across)
            panel.set_ylabel(f"{'time' if line == 0 else 'memory'}, {unit}")
            panel.set_xlabel(what if line else "")
            panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"plot: {picture}")
