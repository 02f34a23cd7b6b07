"""The curves of a run: what its log says, step by step, sorted into panels, and what its answers got right."""

import json
import math
import re
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from overlay.training.run_files import LOG, Tail

POINTS = 240  # of a curve, as the page draws it
PACE = 30  # newest logged steps that the time of a step is taken from
Line = tuple["array[float]", "array[float]"]  # steps, values

# Panel → the names in the log, each with its curve's; `{}` is what the expression caught. Of both backends.
PANELS: dict[str, list[tuple[str, str]]] = {
    "reward": [(r"reward", "all, weighted"), (r"rewards/([^/]+)(?:/mean)?", "{}")],
    "right answers": [
        (r"(step_success_rate|grounding_accuracy|action_type_accuracy|text_accuracy|format_rate)", "{}"),
    ],
    "completion length (tokens)": [
        (r"completions/mean_length|completion_length", "mean"), (r"completions/(min|max)_length", "{}"),
    ],
    "cut at the limit (share)": [(r"completions/clipped_ratio|truncated", "cut")],
    "groups without a gradient (share)": [
        (r"frac_reward_zero_std", "equal total"), (r"rewards/([^/]+)/zero_std_groups", "{}"),
    ],
    "KL from the reference model": [(r"kl", "KL")],
    "sampler and trainer apart (nats a token)": [
        (r"sampler/logp_difference", "mean"), (r"sampler/logp_difference_worst_prompt", "worst prompt"),
    ],
    "episodes: of rollouts (share)": [(r"episodes/(success|progress|lost)", "{}")],
    "episodes: steps": [(r"episodes/(steps)", "{}")],
    "tasks (share)": [(r"(task_success_rate|task_progress)", "{}")],
    "tasks still right after a step (share)": [(r"task_curve/(\d+)", "step {}")],
    "judge: answers without a verdict (share)": [(r"judge/failure_rate", "failed")],
    "judge: answers": [(r"judge/(asked|cached)", "{}")],
    "dynamic sampling": [(r"dynamic_sampling/(batches|dull_groups)", "{}")],
    "loss": [(r"loss", "loss")],
    "gradient norm": [(r"grad_norm", "norm")],
    "learning rate": [(r"learning_rate", "rate")],
    "entropy (nats)": [(r"entropy", "entropy")],
    "seconds a step": [(r"step_time", "training"), (r"generate_ahead/waited_s", "waited for the server")],
}  # fmt: skip
HELD_OUT = "held out: {}"


def place(name: str) -> tuple[str, str] | None:
    """(panel, curve) of a name in the log; None for what no panel shows."""
    held = name.startswith("eval_")
    for panel, entries in PANELS.items():
        for pattern, curve in entries:
            if found := re.fullmatch(pattern, name.removeprefix("eval_")):
                called = curve.format(*found.groups())
                return panel, HELD_OUT.format(called) if held else called
    return None


def thinned(line: Line) -> list[list[float]]:
    """At most POINTS [step, value] of a curve: means of stretches, the last point as it is."""
    steps, values = line
    stride = max(1, -(-len(steps) // POINTS))
    found = []
    for start in range(0, len(steps), stride):
        part = values[start : start + stride]
        found.append([steps[min(start + stride, len(steps)) - 1], sum(part) / len(part)])
    return found


class Log:
    """What stands in `log.jsonl` of a run."""

    def __init__(self, folder: Path):
        self.tail = Tail(folder / LOG)
        self._clear()

    def _clear(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}
        self.times: deque[tuple[float, float]] = deque(maxlen=PACE)
        self.step, self.epoch = 0, 0.0

    def look(self) -> None:
        """Read on. A run that was started again has put a shorter log in this one's place."""
        anew, lines = self.tail.lines()
        if anew:
            self._clear()
        for line in lines:
            try:
                entry = json.loads(line)
                self._take(entry, float(entry["step"]))
            except (ValueError, KeyError, TypeError):
                continue  # damaged: the others are worth showing

    def _take(self, entry: dict[str, Any], step: float) -> None:
        self.step, self.epoch = max(self.step, int(step)), float(entry.get("epoch") or self.epoch)
        if "time" in entry and "loss" in entry:
            self.times.append((step, float(entry["time"])))
        for name, value in entry.items():
            if isinstance(value, (int, float)) and math.isfinite(value) and (where := place(name)):
                steps, values = self.lines.setdefault(where, (array("d"), array("d")))
                steps.append(step)
                values.append(value)

    @property
    def pace(self) -> float | None:
        """Seconds of a step, lately; None before there are two with their times."""
        pairs = pairwise(self.times)
        took = [(late[1] - early[1]) / (late[0] - early[0]) for early, late in pairs if late[0] > early[0]]
        return median(took) if took else None

    @property
    def between(self) -> float:
        """Steps from one entry to the next."""
        return max((late - early for (early, _), (late, _) in pairwise(self.times)), default=1)


def panels(lines: dict[tuple[str, str], Line]) -> Iterator[dict[str, Any]]:
    """The panels that have something to show, in their order: title, and curves of name and points."""
    for panel in PANELS:
        curves = [{"name": name, "points": thinned(line)} for (where, name), line in lines.items() if where == panel]
        if curves:
            yield {"title": panel, "curves": curves}
