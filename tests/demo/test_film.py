"""The animated picture of an episode."""

import json

import pytest
from PIL import Image

from overlay.action.action import ACTION_NAMES
from overlay.data.images import encode
from overlay.demo import film, look
from overlay.demo.film import ACROSS, GAP, HEAD, TOUCHED, frame
from tests.conftest import needs_chromium

BLANK = encode(Image.new("RGB", (448, 672), "white"), "png").url


def step(kind, parameter):
    assert kind in ACTION_NAMES
    action = {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": "x"}
    return {"completion": f"<think>x</think><answer>{json.dumps(action)}</answer>", "action": kind, "screen": BLANK}


def test_what_was_touched_is_ringed_on_its_own_side():
    stopped = {"instruction": "press A", "steps": [step("task_completed", "x")], "success": False}
    went_on = {"instruction": "press A", "steps": [step("click", "0,0,224,336")] * 2, "success": True}
    for number in range(3):
        shown = frame([stopped, went_on], ["before", "after"], number)
        ring = [
            (x, y)
            for x in range(shown.width)
            for y in range(HEAD, HEAD + 450)
            if shown.getpixel((x, y)) == (232, 113, 10)
        ]
        middle = [(min(each) + max(each)) / 2 for each in zip(*ring, strict=True)]
        assert abs(middle[0] - (ACROSS + GAP + ACROSS / 2)) < 2
        assert abs(middle[1] - (HEAD + ACROSS * 3 / 4)) < 2
    assert TOUCHED == "#e8710a"


@needs_chromium
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--after", "{}", "--out", "{}/a.mp4"), "a.mp4: give a .gif in a folder that is there"),
        (("--after", "{}", "--out", "{}/none/a.gif"), "none/a.gif: give a .gif in a folder"),
        (("--after", "{}/nomodel", "--out", "{}/a.gif"), "nomodel"),
    ],
)
def test_what_cannot_be_filmed_is_said_before_anything_is_played(flags, message, tmp_path, capsys):
    assert film.main([flag.format(tmp_path) for flag in flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_look_refuses_what_is_no_model(tmp_path, capsys):
    (tmp_path / "prompt_style.json").write_text("{}")
    assert look.main(["--model", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line
    assert not (tmp_path / "out").exists()
