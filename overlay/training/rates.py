"""What an evaluation's sampled answers got right, over all its rows: sums of its batches, not means of their means."""

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import torch

from overlay.action.action import parse_action
from overlay.action.completion import ANSWER_TAG
from overlay.metrics.episodes import curve, progress
from overlay.metrics.flags import gold_action, measure, succeeds
from overlay.metrics.rules.step import Screen, screen_of

Place = tuple[int, int]  # task, step
CURVE = 8  # steps that it is logged for


def not_repeated(gradient: Any, first: int, count: int) -> int:
    """How many of a rank's `count` rows, of which the `first` has that number in the whole batch, are no repetitions:
    accelerate fills the last batch of all ranks with rows from the beginning (`gradient`: its GradientState)."""
    if not gradient.end_of_dataloader or gradient.remainder <= 0:
        return count
    return min(count, max(0, gradient.remainder - first))


def are_right(rows: list[dict[str, Any]], texts: list[str]) -> list[float]:
    """Step success, rule `box`, of completions to rows of `overlay.data.examples`: 1 or 0, NaN where gold is no
    action."""
    found = []
    for row, text in zip(rows, texts, strict=True):
        gold = parse_action(row["solution"] or "")
        answer = parse_action(text, row.get("answer_format") or ANSWER_TAG)
        right = None if gold is None else succeeds(answer, gold, screen_of(row))
        found.append(float("nan") if right is None else float(right))
    return found


class Rates:
    """Rates of one evaluation, rule `box`. `gather`: (n, ...) on each rank → all, n the same on each; `places`: where
    a row stands, `source` → (task, step), for the figures of whole tasks: of rows that are in it; `thinking`: whether
    prompts ask for it; `answer_format`: that they ask for."""

    def __init__(
        self,
        gather: Callable[[torch.Tensor], torch.Tensor],
        places: Mapping[str, Place] | None = None,
        thinking: bool = True,
        answer_format: str = ANSWER_TAG,
    ):
        self.gather, self.places = gather, places or {}
        self.thinking, self.answer_format = thinking, answer_format
        self.sums: dict[str, tuple[float, float]] = {}
        self.verdicts: dict[Place, list[bool]] = {}  # of each sampled answer

    def add(self, records: list[dict[str, Any]]) -> None:
        """Completions of one batch, over the rows whose gold is an action; on every rank."""
        scored = [record for record in records if parse_action(record["solution"] or "") is not None]
        screens = [screen_of(record) for record in scored]
        texts, golds = ([record[name] for record in scored] for name in ("completion", "solution"))
        metrics = measure(texts, golds, screens, self.thinking, self.answer_format)
        local = torch.tensor([[[metric.value * metric.n, metric.n] for metric in metrics.values()]])
        for name, (right, rows) in zip(metrics, self.gather(local).sum(0).tolist(), strict=True):
            before = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = (before[0] + right, before[1] + rows)
        if self.places:
            self._add_steps(scored, screens)

    def take(self) -> dict[str, float]:
        """The evaluation ends: each rate over the rows that it is about, and how far tasks got."""
        sums, self.sums = self.sums, {}
        return {name: right / rows for name, (right, rows) in sums.items() if rows} | self._of_tasks()

    def _add_steps(self, records: list[dict[str, Any]], screens: list[Screen]) -> None:
        local = []
        for record, screen in zip(records, screens, strict=True):
            answer = parse_action(record["completion"], self.answer_format)
            verdict = succeeds(answer, gold_action(record["solution"]), screen)
            if verdict is not None and record["source"] in self.places:
                local.append([*self.places[record["source"]], int(verdict)])
        most = int(self.gather(torch.tensor([len(local)])).max())
        filled = torch.tensor(local + [[-1, -1, -1]] * (most - len(local)), dtype=torch.long).view(-1, 3)
        for task, step, right in self.gather(filled).tolist():
            if task >= 0:
                self.verdicts.setdefault((task, step), []).append(bool(right))

    def _of_tasks(self) -> dict[str, float]:
        """Of tasks, each as often as its steps were answered: success, progress and the beginning of their curve."""
        verdicts, self.verdicts = self.verdicts, {}
        steps: dict[int, list[list[bool]]] = {}
        for (task, _), answers in sorted(verdicts.items()):
            steps.setdefault(task, []).append(answers)
        played = [list(one) for answers in steps.values() for one in zip(*answers, strict=False)]
        if not played:
            return {}
        shares = progress(played)
        found = {"task_success_rate": fmean(share == 1 for share in shares), "task_progress": fmean(shares)}
        first = curve(played)[:CURVE]
        return found | {f"task_curve/{number}": share.value for number, share in enumerate(first, 1)}
