"""`make infer` with the tiny model behind a real server, and what is refused."""

import json

import pytest
from PIL import Image

from overlay.errors import SettingError
from overlay.serve import ask, client
from tests.conftest import step_record
from tests.served_parts import HELD_OUT_TASKS


@pytest.mark.integration
def test_a_row_is_asked_and_drawn(url, held_out, tiny_model_dir, tmp_path, capsys):
    picture = tmp_path / "a.png"
    line = ["--url", url, "--name", str(tiny_model_dir), "--data", str(held_out), "--images", HELD_OUT_TASKS]
    assert ask.main([*line, "--index", "3", "--max_tokens", "16", "--out", str(picture)]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("think\n", "answer\n", "action:", "gold\n{"))
    assert Image.open(picture).size == (336, 448)  # the screenshot's own


@pytest.mark.integration
def test_a_task_file_is_asked(url, tiny_model_dir, tmp_path):
    for name in ("1.png", "2.png"):
        Image.new("RGB", (112, 168), "white").save(tmp_path / name)
    task = tmp_path / "step_1.json"
    task.write_text(json.dumps(step_record(first="1.png", second="2.png")))
    line = ["--url", url, "--name", str(tiny_model_dir), "--task", str(task), "--images", str(tmp_path)]
    assert ask.main([*line, "--max_tokens", "8", "--out", str(tmp_path / "a.png")]) == 0


@pytest.mark.integration
def test_a_step_file_is_asked_with_its_earlier_screens(task_tree, tiny_model_dir, url, tmp_path, monkeypatch):
    sent, messages = [], client.openai_messages
    monkeypatch.setattr(client, "openai_messages", lambda *given: sent.append(given[1]) or messages(*given))
    folder, line = task_tree / "10", ["--url", url, "--name", str(tiny_model_dir), "--max_tokens", "4"]
    for screens, shown in (("2", ["10_1.png", "10_2.png", "10_10.png"]), ("0", ["10_2.png", "10_10.png"])):
        more = ["--task", str(folder / "step_10.json"), "--images", str(folder), "--out", str(tmp_path / "a.png")]
        assert ask.main([*line, *more, "--history_screens", screens]) == 0
        assert sent.pop() == [str(folder / name) for name in shown]


@pytest.mark.integration
def test_a_server_that_fails_is_named(url, held_out, tmp_path, capsys):
    line = ["--url", url, "--name", str(tmp_path), "--data", str(held_out), "--images", HELD_OUT_TASKS]
    assert ask.main(line) == 1
    assert capsys.readouterr().err.startswith(f"infer: {url}: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--url", "http://127.0.0.1:9/v1", "--data", "gone.jsonl", "--images", "."], "gone.jsonl"),
        (
            ["--url", "http://127.0.0.1:9/v1", "--images", "."],
            "infer: give a data file (--data, make infer DATA=) or a step file",
        ),
        (["--images", "."], "infer: --url is missing: make serve MODEL="),
    ],
)
def test_bad_input_gets_one_line(line, message, capsys):
    assert ask.main(line) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said


@pytest.mark.parametrize("content", ["[]", "null", "1", '"text"', "{", "", '{"input": [1]}', '{"input": null}',
                                     '{"task_content": "a", "screen_path1": 1}', "[" * 200_000])  # fmt: skip
def test_a_step_file_that_is_none_gets_one_line(content, tmp_path, capsys):
    (tmp_path / "step.json").write_text(content)
    line = ["--url", "http://127.0.0.1:9/v1", "--task", str(tmp_path / "step.json"), "--images", str(tmp_path)]
    assert ask.main([*line, "--out", str(tmp_path / "a.png")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("infer: --task")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--index", "-1"], "--index -1: a number of at least 0"),
        (["--max_tokens", "0"], "--max_tokens 0: a number of at least 1"),
        (["--timeout", "nan"], "--timeout nan: a number"),
        (["--out", "answer"], "--out answer: a picture's name"),
        (["--out", __file__ + "/a.png"], "test_ask.py: cannot be written ("),
        (["--url", "127.0.0.1:8000"], "'127.0.0.1:8000' is no URL of a server: write http://host:port/v1"),
    ],
)
def test_a_flag_that_cannot_be_gets_one_line(flags, message, held_out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["--url", "http://127.0.0.1:9/v1", "--name", "m", "--data", str(held_out), "--images", HELD_OUT_TASKS]
    assert ask.main([*line, *flags]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said


def test_a_broken_row_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('\n{"id": 1\n')
    with pytest.raises(SettingError, match=r"rows\.jsonl:2: not JSON"):
        ask.question_of_row(tmp_path / "rows.jsonl", 0)
    with pytest.raises(SettingError, match=r"rows\.jsonl: no row 1"):
        ask.question_of_row(tmp_path / "rows.jsonl", 1)
