"""`--thinking false`: no question asks for thinking, the format is the answer alone, and who asks later does too."""

import argparse
import json
import re

import pytest

from overlay.metrics.flags import measure, row_flags
from overlay.prompt.direct import NOTES, without_thinking
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style, write_style
from overlay.prompt.template import LANGUAGES, load_template, render_question
from overlay.rewards import REWARDS, bound
from overlay.rewards.format import HIGHEST, score_format
from overlay.serve.client import ANSWER, THINKING
from overlay.serve.style import style_flags, style_of

FIELDS = {"task_content": "write <think>x</think><answer>, first reason", "screen_path1": "", "screen_path2": "a.png"}
GOLD = '{"action_type": "wait", "action_parameter": {"wait": ""}, "action_description": "w"}'


def text_of(messages):
    return "".join(part.get("text", "") for part in messages[0]["content"])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("brings", [True, False], ids=["rows with their template", "rows without"])
def test_no_question_asks_for_thinking(language, brings):
    template = load_template(language)
    problem = (
        render_question(template, FIELDS, language) if brings else json.dumps(FIELDS | {"screen_path2": "<image>"})
    )
    asked, direct = (PromptStyle(template, language, thinking=flag).messages(problem, 1) for flag in (True, False))
    assert [part["type"] for part in asked[0]["content"]] == [part["type"] for part in direct[0]["content"]]
    before, task = text_of(direct).split('{"task_content"')
    assert not re.search("think|思考|reason", before)
    assert before.count("<answer>") == 1
    assert NOTES[language] not in before  # the template itself says it
    assert text_of(asked).endswith(task)  # a task's own words stay
    assert len(before) < len(text_of(asked).split('{"task_content"')[0])


def test_a_template_of_ones_own():
    mine = 'Do it.\n{screens}\n<think>{"plan": 1}</think> <answer>JSON</answer>\nStep: '
    assert without_thinking(mine, "en") == "Do it.\n{screens}\n<answer>JSON</answer>\nStep: "
    bare = render_question("Do it. {screens} ", FIELDS, "en")
    assert without_thinking(bare, "en") == NOTES["en"] + bare
    assert without_thinking("2+2?", "zh") == NOTES["zh"] + "2+2?"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"<answer>{GOLD}</answer>", 2.5), (f" <answer>{GOLD}</answer>\n", 2.5),
        (f"<think>{{}}</think><answer>{GOLD}</answer>", 2.0), (f"So: <answer>{GOLD}</answer>", 2.0),
        (f"<answer>{GOLD}</answer><answer>{GOLD}</answer>", 2.0), ("<answer>wait</answer>", 1.0), (GOLD, 0.0),
        ("<answer>", 0.0), ("", 0.0), ("<think>{}</think>", 0.0), (f"<think><answer>{GOLD}</answer></think>", 0.0),
    ],
)  # fmt: skip
def test_the_format_without_thinking(text, score):
    assert score_format(text, thinking=False) == score
    graded, scaled = bound([REWARDS["format"], REWARDS["format_scaled"]], None, "box", thinking=False)
    made = [[{"role": "assistant", "content": text}]]
    assert (graded(completions=made, solution=[GOLD]), scaled(made)) == ([score], [score / HIGHEST])
    assert row_flags(text, GOLD, thinking=False)["format_rate"] == (score == HIGHEST)
    assert measure([text], [GOLD], thinking=False)["format_rate"].value == (score == HIGHEST)


def test_grammar_of_the_answer_alone():
    answer = f"<answer>{GOLD}</answer>"
    assert re.fullmatch(ANSWER, answer)
    assert not re.fullmatch(THINKING + ANSWER, answer)


def test_the_models_folder_says_it_and_a_flag_overrides(tmp_path):
    direct = PromptStyle(load_template("zh"), thinking=False)
    write_style(direct, tmp_path)
    assert read_style(tmp_path) == direct

    def asked(*line):
        parser = argparse.ArgumentParser()
        style_flags(parser)
        return style_of(argparse.Namespace(name=str(tmp_path), **vars(parser.parse_args(line))))

    style, said = asked()
    assert (style, "template zh, without thinking" in said) == (direct, True)
    style, said = asked("--thinking", "true")
    assert (style.thinking, "--thinking true in place of false" in said) == (True, True)
    # A folder of an earlier version does not say: it asked for thinking.
    kept = json.loads((tmp_path / STYLE_FILE).read_text())
    (tmp_path / STYLE_FILE).write_text(json.dumps({name: kept[name] for name in kept if name != "thinking"}))
    assert read_style(tmp_path) == PromptStyle(load_template("zh"))
