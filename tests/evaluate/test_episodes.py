"""SOP: episodes on the model's own words, until its first wrong step."""

import asyncio
import json
from collections import Counter

import pytest

from overlay.action.action import answer_text
from overlay.action.completion import ANSWER_TAG, TOOL_CALL
from overlay.errors import DataError
from overlay.evaluate.answers import Answers
from overlay.evaluate.episodes import RIGHT, play_out
from overlay.metrics.intervals import episodes
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input
from overlay.serve.client import Answer
from tests.evaluate.parts import action, asked, fields, row, screen, write


class Model:
    """Answers like a server's client: it waits and says so with the step's number; wrong at `wrong` (task, position),
    and without an answer at `silent`."""

    def __init__(self, wrong=(), silent=()):
        self.wrong, self.silent, self.asked = set(wrong), set(silent), Counter()
        self.histories: dict[tuple[str, int], list[str]] = {}

    async def ask(self, prompt, paths):
        told = step_input("".join(part.get("text", "<image>") for part in prompt[0]["content"]))[1]
        where = told["task_content"], len(told["history_path_all"]) + 1
        self.asked[where] += 1
        self.histories[where] = told["history_path_all"]
        if where in self.silent:
            raise DataError("no answer")
        kind = "back" if where in self.wrong else "wait"
        return Answer(f"<answer>{action(kind, '', f'my {where[1]}')}</answer>")


class Caller(Model):
    """The same in tool calls."""

    async def ask(self, prompt, paths):
        said = (await super().ask(prompt, paths)).completion
        return Answer(answer_text(said.removeprefix("<answer>").removesuffix("</answer>"), TOOL_CALL))


@pytest.fixture
def found(tmp_path):
    """Two tasks of four steps, the second of which is a key press that no row says."""
    rows = []
    for task in "ab":
        for step in (1, 3, 4):
            screen(tmp_path / task / f"{step}.png", ord(task) + step)
            history = [f"gold {n}" for n in range(1, step)]
            rows.append(row(f"{task}/{step}.png", action("wait", "", f"gold {step}"), fields(task, history)))
    return asked(str(write(tmp_path / "rows.jsonl", rows)), str(tmp_path), "androidcontrol-high")


def played(model, found, out, concurrency=2, style=None):
    answers = Answers(out, {"model": "m"}, "1" * 16)
    return asyncio.run(play_out(model, found.rows, answers, style or PromptStyle(), "box", concurrency))


@pytest.mark.parametrize(("kind", "form"), [(Model, ANSWER_TAG), (Caller, TOOL_CALL)])
def test_the_history_is_the_models_own(found, tmp_path, kind, form):
    model = kind(wrong=[("b", 3)])
    table, failures = played(model, found, tmp_path / "out", style=PromptStyle(answer_format=form))
    assert failures == []
    assert model.histories["a", 4] == ["my 1", "gold 2", "my 3"]  # nobody was asked for the second step
    assert ("b", 4) not in model.asked  # the third was wrong
    assert {task: list(part[RIGHT]) for task, part in table.groupby("task", sort=False)}.keys() == {
        each["task"] for each in found.rows
    }
    figures = episodes(table, RIGHT)
    assert figures["task_progress"].value == pytest.approx((1 + 1 / 3) / 2)
    assert figures["task_success_rate"].value == 0.5
    again = Model()
    table, _ = played(again, found, tmp_path / "out", concurrency=1, style=PromptStyle(answer_format=form))
    assert sum(again.asked.values()) == 0  # every answer was kept
    assert table[RIGHT].sum() == 4


def test_a_task_without_an_answer_has_no_figure(found, tmp_path):
    table, failures = played(Model(silent=[("a", 3)]), found, tmp_path / "out")
    assert len(failures) == 1
    assert failures[0].endswith("no answer")
    assert table["task"].nunique() == 1
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 4
