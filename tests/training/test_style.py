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
    assert "was trained with --max_pixels 1003520; this run has 5000" in said


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SettingError, match=r"--model_name_or_path .*gone: "):
        space_of(str(tmp_path / "gone"))
