"""Answers of a model folder without a server."""

import pytest
from PIL import Image

from overlay.action.action import Action
from overlay.pages.picture import drawn
from overlay.serve import ask, local
from tests.served_parts import HELD_OUT_TASKS


@pytest.mark.integration
def test_local_answers_are_those_of_the_server(url, held_out, tiny_model_dir, tmp_path, capsys):
    line = ["--data", str(held_out), "--images", HELD_OUT_TASKS, "--index", "3", "--max_tokens", "12"]
    assert local.main([str(tiny_model_dir), *line, "--out", str(tmp_path / "pictures")]) == 0
    text = capsys.readouterr().out.split("\n", 1)[1].strip()
    assert (tmp_path / "pictures" / "0.png").exists()
    assert ask.main(["--url", url, "--name", str(tiny_model_dir), *line, "--out", str(tmp_path / "a.png")]) == 0
    assert text in capsys.readouterr().out


def test_bad_input_gets_one_line(tmp_path, capsys):
    assert local.main(["model"]) == 2
    assert capsys.readouterr().err == "local: give one of --data, --question and --refer\n"
    for flag in ("--batch 0", "--max_tokens -1", "--temperature nan", "--index -1"):
        assert local.main([str(tmp_path), "--data", "x", *flag.split()]) == 2
        assert capsys.readouterr().err.startswith(f"local: {flag}: ")
    assert local.main([str(tmp_path), "--question", "?"]) == 2
    assert capsys.readouterr().err.startswith("local: ")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("<think>[1, 2, 3, 4]</think><answer>[10, 20, 30, 40]</answer>", (10, 20, 30, 40)),
        ('<answer>```json\n[{"bbox_2d": [10.5, 20, 30, 40]}]```</answer>', (10.5, 20, 30, 40)),
        ("the box is 10,20,30,40.", (10, 20, 30, 40)),
        ("<answer>nothing</answer>", None),
    ],
)
def test_boxes_of_referring_expressions(text, box):
    assert local.read_box(text) == box


def test_a_box_is_drawn_in_the_images_own_pixels(tmp_path):
    Image.new("RGB", (200, 400), "white").save(tmp_path / "s.png")
    image = drawn(str(tmp_path / "s.png"), Action("click", [10, 20, 50, 100]), (0.5, 0.5))
    assert image.getpixel((20, 120)) != (255, 255, 255)
    assert image.getpixel((10, 60)) == (255, 255, 255)
