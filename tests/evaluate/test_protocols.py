"""Protocols of published work: what a row tells the model under each, which rows count, and by which rule."""

import json
from pathlib import Path

import pytest

from overlay.evaluate.protocols import PROTOCOLS
from overlay.evaluate.tables import summary
from overlay.metrics.rules import RULES
from overlay.prompt.template import load_template, step_input
from tests.evaluate.parts import action, asked, fields, row, screen, write
from tests.stock import ROOT

HISTORY = [f"step {n}" for n in range(1, 7)]
# What is told: (earlier steps, plan), by protocol.
TOLD = {
    "androidcontrol-low": (HISTORY, {"1": "Tap the clock"}),
    "androidcontrol-high": (HISTORY, {}),
    "odyssey": (HISTORY[-4:], {}),
    "aitz": ([], {}),
    "cagui": ([], {}),
    "screenspot": ([], {}),
}
GOLDS = [
    ("click", "10,20,60,90"), ("type", "x"), ("open_app", "Clock"), ("wait", ""), ("task_completed", ""),
    ("inquiry", "{}"),
]  # fmt: skip
# The gold types that are asked, by protocol.
ASKED = {
    "androidcontrol-low": ["click", "type", "open_app", "wait"],
    "androidcontrol-high": ["click", "type", "open_app", "wait"],
    "odyssey": ["click", "type", "task_completed"],
    "aitz": ["click", "type", "wait", "task_completed"],
    "cagui": ["click", "type", "wait", "task_completed"],
    "screenspot": ["click"],
}


def rows(tmp_path: Path, template: str = "en") -> tuple[str, str]:
    for name in ("1.png", "2.png"):
        screen(tmp_path / "7" / name, ord(name[0]))
    step = fields("Open the clock", HISTORY)
    golds = [action(kind, text, "Tap the clock") for kind, text in GOLDS]
    made = [row(["7/1.png", "7/2.png"], gold, step, template, elements=[]) for gold in golds]
    return str(write(tmp_path / "rows.jsonl", made)), str(tmp_path)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_told_and_what_is_asked(tmp_path, name):
    found = asked(*rows(tmp_path), name)
    golds = [json.loads(each["solution"])["action_type"] for each in found.rows]
    assert golds == ASKED[name]
    assert sum(found.left_out.values()) == len(GOLDS) - len(golds)
    for each in found.rows:
        before, told = step_input(each["problem"])
        assert (told["history_path_all"], told["task_path"]) == TOLD[name]
        assert (told["task_content"], told["app_name"]) == ("Open the clock", "clock")
        assert (told["screen_path1"], told["screen_path2"]) == ("", "<image>")  # only the current screen is shown
        assert [Path(path).name for path in each["image_path"]] == ["2.png"]
        assert "One screenshot follows: the current screen" in before
        assert before.split("\n")[0] == load_template("en").split("\n")[0]  # in the model's own words
        assert sum(part["type"] == "image" for part in each["prompt"][0]["content"]) == 1


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_gives_its_number(tmp_path, name):
    found = asked(*rows(tmp_path), name)
    gold = [each["solution"] for each in found.rows]
    figures = summary(found, [gold[0]] * len(gold), rule=PROTOCOLS[name].rule, protocol=name)
    head = figures["rules"][PROTOCOLS[name].rule]["steps"]
    assert (head["n"], head["value"]) == (len(gold), pytest.approx(1 / len(gold)))  # every row counts
    assert figures["rule"] == figures["protocol"]["rule"] == PROTOCOLS[name].rule
    assert figures["protocol"]["left_out"] == dict(found.left_out)
    assert figures["by_gold_type"]["click"]["value"] == 1.0


def test_a_step_without_an_instruction_is_left_out_and_counted(tmp_path):
    screen(tmp_path / "x.png")
    file = write(tmp_path / "rows.jsonl", [row("x.png", action("wait")), row("x.png", action("wait", "", "Hold on"))])
    found = asked(str(file), str(tmp_path), "androidcontrol-low")
    assert (len(found.rows), dict(found.left_out)) == (1, {"no instruction of its own": 1})
    assert step_input(found.rows[0]["problem"])[1]["task_path"] == {"1": "Hold on"}


def test_rows_of_any_shape_are_told_alike(tmp_path):
    """A row that is only the input, without template or with its marks in front."""
    screen(tmp_path / "x.png")
    step = {**fields(history=HISTORY), "screen_path2": "<image>"}
    questions = [json.dumps(step), "<image><image>" + json.dumps({**step, "screen_path2": ""})]
    made = [
        {"image": ["x.png"] * q.count("<image>"), "conversations": [
            {"from": "human", "value": q}, {"from": "gpt", "value": action("click", "10,20,60,90")},
        ]}
        for q in questions
    ]  # fmt: skip
    found = asked(str(write(tmp_path / "rows.jsonl", made)), str(tmp_path), "odyssey")
    for each in found.rows:
        assert each["problem"].count("<image>") == len(each["image_path"]) == 1
        assert step_input(each["problem"])[1]["history_path_all"] == HISTORY[-4:]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_docs_name_every_protocol_with_its_source(name):
    text = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
    assert PROTOCOLS[name].source in text


@pytest.mark.parametrize("name", RULES)
def test_docs_define_every_rule_with_its_link(name):
    text = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
    assert RULES[name].link in text
