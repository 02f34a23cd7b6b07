"""The page of a score: metrics with intervals, plots, and a gallery of steps to filter. One file, no server."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from overlay.action.action import ACTION_NAMES
from overlay.metrics import intervals
from overlay.metrics.flags import ruled, under
from overlay.pages.figures import svg
from overlay.pages.groups import answer_of, embedded, group_of
from overlay.pages.render import write_page

SHOWN = 300  # steps in the gallery, wrong ones first


def bars(title: str, parts: dict[str, dict[str, float]], rule: str, most: int = 15) -> str:
    """Step success with intervals for each value of a column, as inline SVG."""
    names = list(parts)[:most][::-1]
    values = [parts[name]["value"] for name in names]
    low = [max(0.0, parts[name]["value"] - parts[name]["low"]) for name in names]
    high = [max(0.0, parts[name]["high"] - parts[name]["value"]) for name in names]
    figure, axes = plt.subplots(figsize=(5.2, 0.9 + 0.32 * len(names)), layout="constrained")
    axes.barh([f"{name} ({parts[name]['n']})" for name in names], values, xerr=[low, high], color="#8fb3e6")
    axes.set(xlim=(0, 1), xlabel=f"step success ({rule})", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def curves(curves: dict[str, list[dict[str, float]]], rule: str) -> str:
    """Share of tasks that are still right after 1, 2, ... steps, a line for each way of asking, as inline SVG."""
    figure, axes = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
    for (name, shares), colour in zip(curves.items(), ("#8fb3e6", "#d2691e"), strict=False):
        axes.plot(range(1, len(shares) + 1), [share["value"] for share in shares], "o-", ms=4, label=name, color=colour)
    axes.set(ylim=(0, 1), xlabel="steps", ylabel=f"all right ({rule})", title="tasks without a miss so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="with", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def confusion(rows: pd.DataFrame) -> str:
    """Gold against answered types, as inline SVG."""
    table = intervals.confusion(rows, list(ACTION_NAMES))
    share = table.div(table.sum(axis=1), axis=0)
    figure, axes = plt.subplots(figsize=(1.9 + 0.62 * table.shape[1], 1.6 + 0.4 * table.shape[0]), layout="constrained")
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            if table.iat[i, j]:
                colour = "white" if share.iat[i, j] > 0.6 else "black"
                axes.text(j, i, str(table.iat[i, j]), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(table.shape[1]), table.columns, rotation=40, ha="right")
    axes.set_yticks(range(table.shape[0]), table.index)
    axes.set(xlabel="answered", ylabel="gold", title="types")
    return svg(figure)


def verdict(flags: dict[str, Any], rule: str) -> bool | None:
    """Whether an answer is right under the score's rule; None where that cannot judge it."""
    right = flags[under(rule)]
    return None if pd.isna(right) else bool(right)


def _group(row: dict[str, Any], order: int, completion: str, flags: dict[str, Any], rule: str) -> dict[str, Any]:
    marks = ("action_type_accuracy", "format_rate")
    record = row | {
        "step": row["position"], "mode": row["app"], "advantage": None, "completion": completion,
        "rewards": {name: float(flags[name]) for name in marks},
    }  # fmt: skip
    return {**group_of(record), "order": order, "answers": [answer_of(record, verdict(flags, rule))]}


def write(
    out: Path,
    name: str,
    result: dict[str, Any],
    table: pd.DataFrame,
    rows: list[dict[str, Any]],
    completions: list[str],
) -> None:
    """Write the page of `result` (metrics.json's content) and its rows' `table` to `out`."""
    rule = result["rule"]
    figures = [
        bars("by gold type", result["by_gold_type"], rule), confusion(table), bars("by app", result["by_app"], rule),
        bars("by position in the task", result["by_position"], rule), curves(result["curves"], rule),
    ]  # fmt: skip
    flags = table.to_dict("records")
    order = sorted(range(len(rows)), key=lambda n: (False, None, True).index(verdict(flags[n], rule)))[:SHOWN]
    found = [_group(rows[n], n, completions[n], flags[n], rule) for n in sorted(order)]
    write_page(
        out, "score.html", name=name, result=result, ruled=ruled, figures=figures, groups=found, screens=embedded(found)
    )
