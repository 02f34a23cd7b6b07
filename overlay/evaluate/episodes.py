"""SOP, semi-online performance, as UI-S1 has it: how far an episode gets on the model's own outputs.

A task is asked step by step on its recorded screens; the history of a step is what the model itself said of the steps
before. The first wrong step ends the task. Steps that were never asked (keys that our actions cannot say, rows that a
protocol leaves out) stay in the history in the row's words.
"""

from typing import Any

import pandas as pd
from tqdm import tqdm

from overlay.action.action import described, parse_action
from overlay.evaluate.answers import Answers, ask_one, side_by_side
from overlay.evaluate.rows import shown_to_the_model
from overlay.metrics.flags import gold_action, succeeds
from overlay.prompt.history import in_own_words
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client

RIGHT = "right"


def with_own_words(row: dict[str, Any], said: dict[int, str], style: PromptStyle) -> dict[str, Any]:
    """A row of `rows_of` with what the model `said` at earlier positions in its history."""
    problem = in_own_words(row["told"]["problem"], row["position"], said)
    if problem == row["told"]["problem"]:
        return row
    return {**row, **shown_to_the_model({**row["told"], "problem": problem}, style)}


async def _episode(
    client: Client, rows: list[dict[str, Any]], answers: Answers, style: PromptStyle, rule: str
) -> tuple[list[bool], str]:
    """Verdicts of one task's steps, all False after the first wrong one, and what failed."""
    said: dict[int, str] = {}
    verdicts: list[bool] = []
    for row in rows:
        if False in verdicts:
            if succeeds(None, gold_action(row["solution"]), row["screen"], rule) is not None:
                verdicts.append(False)
            continue
        own = with_own_words(row, said, style)
        if own["content"] not in answers.by_content and (failed := await ask_one(client, own, answers)):
            return [], failed
        completion = answers.by_content[own["content"]]["completion"]
        action = parse_action(completion, style.answer_format)
        said[row["position"]] = described(completion, action, style.answer_format)
        verdict = succeeds(action, gold_action(row["solution"]), row["screen"], rule)
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts, ""


async def play_out(
    client: Client, rows: list[dict[str, Any]], answers: Answers, style: PromptStyle, rule: str, concurrency: int
) -> tuple[pd.DataFrame, list[str]]:
    """One line for each judged step (columns `task`, `right`) of the tasks that were answered, and what failed."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tasks.setdefault(row["task"], []).append(row)
    left, lines, failures = iter(tasks.items()), [], []
    with tqdm(total=len(tasks), desc="episodes") as bar:

        async def worker() -> None:
            for task, steps in left:
                verdicts, failed = await _episode(client, steps, answers, style, rule)
                lines.extend({"task": task, RIGHT: verdict} for verdict in verdicts)
                failures.extend(filter(None, [failed]))
                bar.update()

        await side_by_side(worker, concurrency, answers)
    return pd.DataFrame(lines, columns=["task", RIGHT]), failures
