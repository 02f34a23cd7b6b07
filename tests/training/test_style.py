"""The prompt style of a run: as its flags say, as its model was trained, as its family counts."""

import json
from types import SimpleNamespace

import pytest

from overlay.action.space import Space
from overlay.errors import SettingError
from overlay.model.family import space_of
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from overlay.prompt.template import load_template
from overlay.training.style import style_of_run

ENGLISH = PromptStyle(load_template("en"), "en", space=Space("resized", 784, 1_003_520))


@pytest.mark.parametrize(
    ("family", "space"),
    [("qwen2_vl", "norm1000"), ("qwen2_5_vl", "resized"), ("qwen3_vl", "norm1000"), ("qwen3_5", "norm1000"),
     ("unheard_of", "original")],
)  # fmt: skip
def test_a_run_counts_as_its_model_does(tmp_path, capsys, family, space):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    args = SimpleNamespace(
        coordinate_space="auto", min_pixels=784, max_pixels=5000, prompt_template="en", task_type="gui"
    )
    style = style_of_run(args, str(tmp_path))
    assert (style.space.name, args.coordinate_space, style.language) == (space, space, "en")
    assert f"--coordinate_space auto: {space}, for " in capsys.readouterr().err
    write_style(ENGLISH, tmp_path)
    assert space_of(str(tmp_path))[0] == "resized"  # what it was trained in goes before its family
    style_of_run(args, str(tmp_path))
    said = capsys.readouterr().err
    assert ("was trained with coordinates resized; this run has" in said) == (space != "resized")
    assert "was trained with --max_pixels 1003520; this run has 5000, which it has to learn\n" in said


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SettingError, match=r"--model_name_or_path .*gone: "):
        space_of(str(tmp_path / "gone"))


def left_open(**said):
    defaults = {"coordinate_space": "auto", "min_pixels": 3136, "max_pixels": 12_845_056, "prompt_template": None}
    return SimpleNamespace(**(defaults | {"task_type": "gui", "thinking": None} | said))


@pytest.fixture
def direct(tmp_path):
    """Folder of a model that was trained without thinking, in English, on small images."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    write_style(PromptStyle(load_template("en"), "en", space=ENGLISH.space, thinking=False), tmp_path)
    return tmp_path


def test_what_the_flags_leave_open_is_as_the_model_was_trained(direct, capsys):
    args = left_open()
    style = style_of_run(args, str(direct))
    assert (style.thinking, style.template, style.language) == (False, load_template("en"), "en")
    assert (style.space.min_pixels, style.space.max_pixels) == (784, 1_003_520)
    assert (args.thinking, args.prompt_template, args.max_pixels) == (False, "en", 1_003_520)
    first, *others = capsys.readouterr().err.splitlines()
    taken = "--thinking false --prompt_template en --min_pixels 784 --max_pixels 1003520"
    assert first == f"{direct}/prompt_style.json: {taken}, for it was trained so"
    assert not [line for line in others if "was trained with" in line]


def test_what_the_flags_say_goes_before_it_with_a_warning(direct, capsys):
    args = left_open(thinking=True, max_pixels=9408, prompt_template="zh")
    style = style_of_run(args, str(direct))
    assert (style.thinking, style.template, style.space.max_pixels) == (True, load_template("zh"), 9408)
    said = capsys.readouterr().err
    assert f"{direct} was trained with --thinking false; this run has true" in said
    assert "was trained with --max_pixels 1003520; this run has 9408" in said
    assert "was trained with another prompt template than this run's" in said


def test_a_template_of_the_models_own_is_taken(direct):
    mine = {"answer_format": "tool_call", "history_screens": 2, "history_crop": 0.5}
    write_style(PromptStyle("Mine: ", "en", space=ENGLISH.space, **mine), direct)
    assert style_of_run(left_open(answer_format="answer_tag", history_screens=0), str(direct)).history_screens == 0
    args = left_open()
    style = style_of_run(args, str(direct))
    assert (style.template, style.language, style.thinking) == ("Mine: ", "en", True)
    assert {name: getattr(style, name) for name in mine} == mine
    whole = style_of_run(left_open(history_screens=1, history_crop=0.0), str(direct))
    assert (whole.history_screens, whole.history_crop) == (1, 0)
    with pytest.raises(SettingError, match=r"--history_crop 0\.3: does nothing without --history_screens"):
        style_of_run(left_open(history_screens=0, history_crop=0.3), str(direct))
    assert args.prompt_template == f"{direct}/prompt_style.json"


def test_a_model_that_says_nothing_has_the_defaults(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    args = left_open()
    assert style_of_run(args, str(tmp_path)).template == load_template("zh")
    assert (args.thinking, args.prompt_template, args.max_pixels) == (True, "zh", 12_845_056)
    assert "prompt_style.json" not in capsys.readouterr().err
