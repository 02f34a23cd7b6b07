"""What a checkpoint says of how it was asked, and who reads it."""

import argparse
import json

import pytest
from datasets import Dataset

from overlay.action.completion import THINK_FIELDS
from overlay.action.space import Space
from overlay.data.templates import style_of_rows
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style, write_style
from overlay.prompt.template import load_template, render_question, step_input, template_of
from overlay.serve.ask import question_of_task
from overlay.serve.style import check_seen, of_rows, style_flags, style_of

ENGLISH = PromptStyle(load_template("en"), "en", space=Space("resized", 784, 1_003_520))
STEP = {"task_content": "open", "screen_path1": "", "screen_path2": "a.png"}


def asked(*line, name=""):
    parser = argparse.ArgumentParser()
    style_flags(parser)
    return argparse.Namespace(name=name, **vars(parser.parse_args([str(part) for part in line])))


def test_a_style_comes_back_as_it_was_written(tmp_path):
    for style in (ENGLISH, PromptStyle(), PromptStyle(images_first=True, question_template="{Question} ?")):
        write_style(style, tmp_path)
        assert read_style(tmp_path) == style
    assert read_style(tmp_path / "gone") is None


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"coordinate_space": "moon"}'],
)
def test_a_file_that_is_no_style_is_named(tmp_path, content):
    (tmp_path / STYLE_FILE).write_text(content)
    with pytest.raises(SettingError, match=rf"{STYLE_FILE}: not a prompt style"):
        read_style(tmp_path)


def test_other_thinking_fields_are_refused(tmp_path):
    write_style(ENGLISH, tmp_path)
    content = json.loads((tmp_path / STYLE_FILE).read_text())
    (tmp_path / STYLE_FILE).write_text(json.dumps(content | {"think_fields": [*THINK_FIELDS, "mood"]}))
    with pytest.raises(SettingError, match=r"trained with the thinking fields .*mood"):
        read_style(tmp_path)


def test_who_asks_takes_what_the_checkpoint_says(tmp_path):
    write_style(ENGLISH, tmp_path)
    for args in (asked(name=str(tmp_path)), asked("--style", tmp_path, name="a name on a server")):
        style, said = style_of(args)
        assert style == ENGLISH
        assert "coordinates resized, images of 784 to 1003520 pixels, template en" in said
        assert STYLE_FILE in said
    style, said = style_of(asked("--coordinate_space", "original", "--max_pixels", 5000, name=str(tmp_path)))
    assert (style.space, style.template) == (Space("original", 784, 5000), ENGLISH.template)
    assert "--coordinate_space original in place of resized; --max_pixels 5000 in place of 1003520" in said
    assert question_of_task(STEP, ENGLISH)[0].startswith(ENGLISH.question("")[:40])


def test_rows_with_another_template_than_the_checkpoints_are_said():
    rows = [render_question(load_template(language), STEP, language) for language in ("en", "zh", "zh")]
    assert of_rows(ENGLISH, rows) == "; but 2 of 3 rows bring another template, and are asked with that"
    assert not of_rows(ENGLISH, [rows[0], json.dumps(STEP), "What changed?"])  # those get the checkpoint's, or none
    assert not of_rows(PromptStyle(question_template="{Question} ?"), rows)


def test_what_is_assumed_is_said(tiny_model_dir, tmp_path):
    style, said = style_of(asked(name=str(tiny_model_dir)))
    assert style.space.name == "resized"  # Qwen2.5-VL's own
    assert style.space.max_pixels != Space().max_pixels  # its processor's
    assert "assumed, for there is no prompt_style.json" in said
    assert style_of(asked(name="somewhere else"))[0] == PromptStyle(load_template("zh"))
    with pytest.raises(SettingError, match=rf"--style {tmp_path}: no {STYLE_FILE} there"):
        style_of(asked("--style", tmp_path))


def test_a_server_of_a_folder_sees_images_as_its_processor_does(tiny_model_dir):
    style, _ = style_of(asked(name=str(tiny_model_dir)))
    check_seen(style, tiny_model_dir)
    check_seen(style, None)  # a URL's server may have been started with any limits
    style, _ = style_of(asked("--max_pixels", 5000, name=str(tiny_model_dir)))
    check_seen(style, None)
    with pytest.raises(SettingError, match=r"its processor takes images of \d+ to \d+ pixels, not of \d+ to 5000: "):
        check_seen(style, tiny_model_dir)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("screens", [("", "b.png"), ("a.png", "b.png"), ("a.png", ""), ("", "")])
def test_the_template_is_found_in_a_rendered_question(language, screens):
    fields = {"task_content": 'say {"a": 1}', "screen_path1": screens[0], "screen_path2": screens[1]}
    for template in (load_template(language), "mine {x} {screens} now: "):
        assert template_of(render_question(template, fields, language)) == (template, language)
    assert template_of(json.dumps(fields)) is None
    assert template_of("no JSON {") is None
    assert step_input('say {"a" or {x}: then {"app_name": "微信"}')[1] == {"app_name": "微信"}


def test_a_run_keeps_the_template_of_its_rows(capsys):
    rows = [render_question(load_template(language), STEP, language) for language in ("en", "en", "zh")]
    style = PromptStyle(load_template("zh"), "zh")
    kept = style_of_rows(style, Dataset.from_dict({"problem": rows}))
    assert (kept.template, kept.language) == (load_template("en"), "en")
    assert "2 prompt templates" in capsys.readouterr().err
    assert style_of_rows(style, Dataset.from_dict({"problem": [json.dumps(STEP)]})) == style
