"""The page and the figures of a scored run: report.html (self-contained) and metrics.json."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from overlay.action.action import parse_action
from overlay.action.completion import split
from overlay.action.match import match
from overlay.demo.difference import Difference
from overlay.demo.score import Scored, Scorer, Truth
from overlay.evaluate.identity import now
from overlay.metrics.flags import RULE, Metric, gold_action, ruled, succeeds
from overlay.metrics.rules.step import Screen
from overlay.pages.drawing import screen, shape, shapes
from overlay.pages.figures import svg
from overlay.pages.render import write_page

SHOWN = 12  # held-out steps on the page


def curves_svg(runs: dict[str, list[tuple[int, float]]]) -> str:
    """Reward over steps, one thin line for each run and a thick one for their mean, as inline SVG."""
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for name, points in runs.items():
        axes.plot(*zip(*points, strict=True), linewidth=1, alpha=0.6, label=name, marker=dot(points))
    steps = [step for step, _ in next(iter(runs.values()))]
    means = [sum(run[i][1] for run in runs.values()) / len(runs) for i in range(len(steps))]
    axes.plot(steps, means, color="black", linewidth=2, label="mean", marker=dot(means))
    axes.set(xlabel="GRPO step", ylabel="mean gui_action reward (train)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=4, loc="upper left", fontsize="small")
    return svg(figure)


def dot(points: list) -> str:
    """The marker of a curve: a dot where it is one point, of which a line shows nothing."""
    return "o" if len(points) == 1 else ""


def step_card(row: dict, solution: str, seen: Screen, size: tuple[float, float], before: str, after: str) -> dict:
    """All the page shows of one held-out step. `solution`, `size`: gold and the screen's size in the model's space."""
    gold, first, last = gold_action(solution), parse_action(before), parse_action(after)
    parts = split(after)
    return {
        "source": Path(row["source"]).name,
        "screens": [screen(path) for path in row["image"]],
        "shapes": shapes(
            shape(gold, "gold", seen.scale), shape(first, "before", seen.scale), shape(last, "answer", seen.scale)
        ),
        "success": succeeds(last, gold, seen),
        "reward_before": match(first, gold, size),
        "reward": match(last, gold, size),
        "prompt": row["problem"],
        "think": parts.think,
        "answer": parts.answer,
        "raw": after,
        "gold": row["solution"],
        "type": gold.type,
    }


def choose(truth: Truth, before: list[str], after: list[str]) -> list[int]:
    """`SHOWN` rows, each kind spread evenly over the file: half that became right, then wrong ones and such as were
    right all along; of the others more where a kind has too few."""

    def right(answers: list[str]) -> list[bool]:
        answered = zip(answers, truth.solutions, truth.screens, strict=True)
        return [bool(succeeds(parse_action(text), gold_action(gold), each)) for text, gold, each in answered]

    def spread(pool: list[int], count: int) -> list[int]:
        return [pool[i * len(pool) // count] for i in range(count)] if len(pool) > count else pool

    judged = list(enumerate(zip(right(before), right(after), strict=True)))
    kinds = [[i for i, was in judged if was == kind] for kind in ((False, True), (True, True))]
    wrong = [i for i, (_, now_right) in judged if not now_right]
    chosen = spread(kinds[0], SHOWN // 2)
    chosen += spread(wrong, max(SHOWN // 4, SHOWN - len(chosen) - len(kinds[1])))
    return chosen + spread(kinds[1], SHOWN - len(chosen))


def write_report(
    out: Path,
    scorer: Scorer,
    before: Scored,
    seeds: list[dict],
    baselines: dict[str, dict[str, Metric]],
    rises: dict[str, Difference],
    falls: dict[str, Difference],
    minutes: float,
    trainer: str,
) -> None:
    """Write out/metrics.json and out/report.html. `seeds`: dicts of seed, after (Scored), curve; `falls`: of grounding
    with each look's screens."""
    rows, truth, scored = scorer.rows, scorer.truth, {"before": before}
    scored |= {f"after, seed {run['seed']}": run["after"] for run in seeds}
    metrics = {
        "rule": RULE,
        "trainer": trainer,
        "heldout_rows": len(rows),
        "minutes": round(minutes, 2),
        "date": now(),
        "before": _plain(before.figures),
        "after": [{"seed": run["seed"], **_plain(run["after"].figures)} for run in seeds],
        "baselines": {policy: _plain(values) for policy, values in baselines.items()},
        "looks": {
            name: {look: {"these screens": _plain(a), "true screens": _plain(b)} for look, (a, b) in one.looks.items()}
            for name, one in scored.items()
        },
        "difference": {name: {**asdict(rise), "rose": rise.rose} for name, rise in rises.items()},
        "fall": {look: {**asdict(fall), "fell": fall.rose} for look, fall in falls.items()},
        "reward_curves": {f"seed {run['seed']}": run["curve"] for run in seeds},
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    answers = [before.answers, seeds[0]["after"].answers]
    cards = [
        step_card(rows[i], truth.solutions[i], truth.screens[i], truth.sizes[i], *(texts[i] for texts in answers))
        for i in choose(truth, *answers)
    ]
    write_page(
        out / "report.html",
        "report.html",
        rule=RULE,
        ruled=ruled,
        total=len(rows),
        minutes=minutes,
        date=metrics["date"],
        trainer={"trl": "TRL's GRPOTrainer", "vlm-r1": "the patched VLM-R1"}.get(trainer, trainer),
        columns={**baselines, **{name: one.figures for name, one in scored.items()}},
        looks=scored,
        rises=rises,
        falls=falls,
        curves=curves_svg(metrics["reward_curves"]),
        steps=cards,
    )


def _plain(figures: dict[str, Metric]) -> dict[str, Any]:
    return {name: asdict(metric) for name, metric in figures.items()}
