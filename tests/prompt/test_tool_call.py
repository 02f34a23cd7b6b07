"""`--answer_format tool_call`: what questions ask for, in both languages, with thinking and without; who asks later."""

import argparse
import json
import re

import pytest

from overlay.action.action import ACTION_NAMES, answer_text
from overlay.action.completion import ANSWER_TAG, TOOL_CALL
from overlay.action.tool_call import OPTIONAL, REQUIRED
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style, write_style
from overlay.prompt.template import LANGUAGES, load_template, render_question
from overlay.prompt.tool_call import CALL, NOTES, tool, with_tool_call
from overlay.serve.client import ANSWER, THINKING
from overlay.serve.client import CALL as GRAMMAR
from overlay.serve.style import style_flags, style_of
from tests.action.test_tool_call import GOLDS, gold

TASK = {"task_content": "write <answer>x</answer>, Rules:", "screen_path1": "", "screen_path2": "a.png"}


def text_of(messages):
    return "".join(part.get("text", "") for part in messages[0]["content"])


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "direct"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("brings", [True, False], ids=["rows with their template", "rows without"])
def test_a_question_asks_for_a_call(language, brings, thinking):
    template = load_template(language)
    problem = render_question(template, TASK, language) if brings else json.dumps(TASK | {"screen_path2": "<image>"})
    tags, calls = (
        PromptStyle(template, language, thinking=thinking, answer_format=form).messages(problem, 1)
        for form in (ANSWER_TAG, TOOL_CALL)
    )
    assert [part["type"] for part in calls[0]["content"]] == [part["type"] for part in tags[0]["content"]]
    before, task = text_of(calls).split('{"task_content"')
    assert text_of(tags).endswith(task)  # a task's own words stay
    assert not re.search("answer>|action_parameter|边界框|bounding box|x1", before)
    assert before.count("<tools>") == before.count(CALL[language]) == 1
    assert bool(re.search("<think>|思考", before)) == thinking
    assert "nothing else" in before or "此外不写" in before
    assert NOTES[language] not in before
    # Some 200 tokens longer than the action space that it stands for, not many times so.
    assert len(before) < 2 * len(text_of(tags).split('{"task_content"')[0])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_signature_is_json_that_names_each_action(language):
    inside = tool(language).partition("<tools>\n")[2].partition("\n</tools>")[0]
    parameters = json.loads(inside)["function"]["parameters"]["properties"]
    assert set(parameters["action"]["enum"]) == set(REQUIRED) - {"key", "answer"}
    assert all(f"{name}" in parameters["action"]["description"] for name in ACTION_NAMES)
    assert set(parameters) == {"action"}.union(*REQUIRED.values(), *OPTIONAL.values())


def test_a_template_of_ones_own():
    mine = 'Do it.\n{screens}\n<think>{"plan": 1}</think> <answer>JSON</answer>\nStep: '
    assert with_tool_call(mine, "en") == tool("en") + mine.replace("<answer>JSON</answer>", CALL["en"])
    bare = render_question("Do it. {screens} ", TASK, "en")
    assert with_tool_call(bare, "en") == f"{NOTES['en']}{CALL['en']}\n{tool('en')}{bare}"
    direct = PromptStyle(None, "zh", thinking=False, answer_format=TOOL_CALL).worded("2+2?")
    assert direct.count(CALL["zh"]) == 1
    assert direct.endswith("2+2?")


@pytest.mark.parametrize(("kind", "parameter"), GOLDS.items())
def test_grammar_of_a_call(kind, parameter):
    for says in ("tap it", ""):
        text = answer_text(gold(kind, parameter, says), TOOL_CALL)
        assert re.fullmatch(GRAMMAR, text)
        assert not re.fullmatch(ANSWER, text)
        assert not re.fullmatch(THINKING + GRAMMAR, text)
        assert not re.fullmatch(GRAMMAR, text + text)


def test_the_models_folder_says_it_and_a_flag_overrides(tmp_path):
    calls = PromptStyle(load_template("zh"), answer_format=TOOL_CALL)
    write_style(calls, tmp_path)
    assert read_style(tmp_path) == calls

    def asked(*line):
        parser = argparse.ArgumentParser()
        style_flags(parser)
        return style_of(argparse.Namespace(name=str(tmp_path), **vars(parser.parse_args(line))))

    style, said = asked()
    assert (style, "template zh, answers as tool calls" in said) == (calls, True)
    style, said = asked("--answer_format", "answer_tag")
    assert (style.answer_format, "--answer_format answer_tag in place of tool_call" in said) == (ANSWER_TAG, True)
    kept = json.loads((tmp_path / STYLE_FILE).read_text())
    (tmp_path / STYLE_FILE).write_text(json.dumps({name: kept[name] for name in kept if name != "answer_format"}))
    assert read_style(tmp_path) == PromptStyle(load_template("zh"))  # an earlier version's asked for tags
