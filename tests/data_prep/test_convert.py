import json
import subprocess
import sys

import pytest
from PIL import Image

from data_prep.convert import convert, main
from overlay.errors import DataError
from tests.conftest import step_record, write_step
from tests.stock import ROOT

TEMPLATE = "做一步：{screens}\n"


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows(task_tree, tmp_path):
    out = tmp_path / "rows.jsonl"
    assert convert(task_tree, out, TEMPLATE) == (4, 0)
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    # Tasks by number, steps by number: step_10 comes after step_2.
    assert [row["image"] for row in rows] == [
        ["9/9_1.png"], ["10/10_1.png"], ["10/10_1.png", "10/10_2.png"], ["10/10_2.png", "10/10_10.png"],
    ]  # fmt: skip
    human, gpt = rows[3]["conversations"]
    assert human["from"] == "human"
    assert human["value"].startswith("做一步：下面附有两张截图")
    fields = json.loads(human["value"].split("\n")[1])
    assert fields == step_record(first="<image>", second="<image>")["input"]
    assert gpt == {"from": "gpt", "value": json.dumps(step_record()["output"], ensure_ascii=False)}
    assert "微信" in out.read_text(encoding="utf-8")  # non-ASCII is kept as it is
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "tasks"]  # no report, nothing temporary


def test_same_bytes_for_any_number_of_workers(tmp_path):
    root = tmp_path / "tasks"
    for task in range(60):
        Image.new("RGB", (80, 100)).save(_made(root / str(task)) / "s.png")
        for step in range(1, 6):
            write_step(root / str(task), step, step_record(second="s.png"))
    one, four = tmp_path / "one.jsonl", tmp_path / "four.jsonl"
    convert(root, one, TEMPLATE, workers=1)
    convert(root, four, TEMPLATE, workers=4)
    assert one.read_bytes() == four.read_bytes()
    assert len(rows_of(one)) == 300


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


BROKEN = {
    "unreadable JSON": '{"input": {',
    "not a JSON object": "[]",
    "missing key 'output'": json.dumps({"input": step_record()["input"]}),
    "missing key 'input.task_content'": {**step_record(), "input": {"action_type_list": {}}},
    "image not found": step_record(second="gone.png"),
    "not an image": step_record(second="text.png"),
    "does not decode": step_record(second="cut.png"),
    "leaves the task tree": step_record(second="../../outside.png"),
    "lies outside its 112x168 image": step_record(parameter="10,20,113,90", second="good.png"),
    "x1 >= x2": step_record(parameter="60,20,10,90", second="good.png"),
    "unknown action type 'tap'": step_record("tap", second="good.png"),
    "stands under 'type'": {
        **step_record(second="good.png"), "output": {"action_type": "click", "action_parameter": {"type": "1,2,3,4"}},
    },
    "is not x1,y1,x2,y2": step_record(parameter="10,20", second="good.png"),
    "does not move": step_record("swipe", "5,5,5,5", second="good.png"),
    "inquiry lacks AnswerIndex": step_record(
        "inquiry", '{"Question": "?", "CandidatesList": [], "PicDescribe": ""}', second="good.png"
    ),
    "takes an empty string": step_record("wait", "5", second="good.png"),
    "without its text": step_record("type", "", second="good.png"),
    "looks like shares of the screen": step_record(parameter="0.1,0.2,0.3,0.4", second="good.png"),
    "looks like shares of the screen (0 to 1)": step_record("swipe", "0.1,0.2,0.1,0.9", second="good.png"),
    "less than a pixel wide": step_record(parameter="10.2,20,10.6,90", second="good.png"),
    "NaN is not JSON": json.dumps(step_record(second="good.png")).replace('"10,20,60,90"', "[NaN, 20, 60, 90]"),
    "Infinity is not JSON": json.dumps(step_record(second="good.png")).replace('"app_name": ', '"n": Infinity, "a": '),
    "'elements' is no list": {**step_record(second="good.png"), "elements": "1,2,3,4"},
    "reserved mark <image>": {**step_record(), "input": {**step_record()["input"], "app_name": "<image>"}},
}  # fmt: skip


@pytest.mark.parametrize("reason", BROKEN)
def test_broken_parts_are_named(reason, tmp_path, capsys):
    root = tmp_path / "tasks"
    task = _made(root / "7")
    Image.new("RGB", (112, 168)).save(task / "good.png")
    Image.new("RGB", (112, 168)).save(tmp_path / "outside.png")
    (task / "text.png").write_text("no image")
    (task / "cut.png").write_bytes((task / "good.png").read_bytes()[:60])
    write_step(task, 1, step_record(second="good.png"))
    write_step(task, 2, BROKEN[reason])
    out = tmp_path / "rows.jsonl"
    with pytest.raises(DataError, match="1 of 2 steps are broken") as stop:
        convert(root, out, TEMPLATE)
    assert stop.value.status != 0
    assert not out.exists()
    listed = rows_of(tmp_path / "rows.report.jsonl")
    assert [entry["file"] for entry in listed] == ["7/step_2.json"]
    assert reason in listed[0]["reasons"][0]
    message = capsys.readouterr().err
    assert "7/step_2.json" in message
    assert reason in message
    # Skipping leaves the good step.
    assert convert(root, out, TEMPLATE, on_error="skip") == (1, 1)
    assert len(rows_of(out)) == 1
    assert len(rows_of(tmp_path / "rows.report.jsonl")) == 1


def test_what_is_passed_over_is_named(task_tree, tmp_path, capsys):
    for folder, file in (("task_2", "step_1.json"), ("10", "step1.json"), ("10", "Step_3.json"), (".hidden", "a.json")):
        write_step(task_tree / folder, 7, "{}").rename(task_tree / folder / file)
    (task_tree / "all.json").write_text("[]")
    convert(task_tree, tmp_path / "rows.jsonl", TEMPLATE)
    said = capsys.readouterr().err
    names = "10/Step_3.json, 10/step1.json, 10/step_x.json, all.json, notes/, task_2/"
    assert f"{task_tree}: passed over, not <task id, digits>/step_<n>.json: {names}\n" in said
    for number in range(30):
        (task_tree / f"task_{number}").mkdir(exist_ok=True)
    convert(task_tree, tmp_path / "rows.jsonl", TEMPLATE)
    assert ", ...\n" in capsys.readouterr().err


def test_columns_beside_input_and_output_become_the_rows(tmp_path):
    columns = {"elements": [[1, 2, 3, 4]], "group": "web", "aligned": False}
    write_step(tmp_path / "1", 1, step_record() | columns)
    write_step(tmp_path / "1", 2, step_record())
    convert(tmp_path, tmp_path / "rows.jsonl", TEMPLATE)
    first, second = rows_of(tmp_path / "rows.jsonl")
    assert {name: first[name] for name in columns} == columns
    assert list(second) == ["id", "image", "conversations"]


def test_failure_keeps_the_old_file(task_tree, tmp_path):
    out = tmp_path / "rows.jsonl"
    convert(task_tree, out, TEMPLATE)
    before = out.read_bytes()
    write_step(task_tree / "9", 2, "{")
    with pytest.raises(DataError):
        convert(task_tree, out, TEMPLATE)
    assert out.read_bytes() == before


def test_header_check_does_not_decode(tmp_path):
    root = tmp_path / "tasks"
    Image.effect_noise((112, 168), 50).save(_made(root / "1") / "s.png")
    data = (root / "1" / "s.png").read_bytes()
    (root / "1" / "s.png").write_bytes(data[: len(data) // 2])
    write_step(root / "1", 1, step_record(second="s.png"))
    assert convert(root, tmp_path / "rows.jsonl", TEMPLATE, decode=False) == (1, 0)
    with pytest.raises(DataError):
        convert(root, tmp_path / "rows.jsonl", TEMPLATE, decode=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "rows.jsonl"], "nowhere: no such folder"),
        ([".", "--out", "rows.jsonl"], "no <task id>/step_<n>.json"),
        ([".", "--out", "rows.jsonl", "--prompt", "none.txt"], "neither"),
    ],
)
def test_wrong_paths_give_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data: ")]
    assert len(said) == 1
    assert message in said[0]
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.integration
def test_make_data(task_tree, tmp_path):
    out = tmp_path / "made.jsonl"
    # With the environment as it is: -o says that it need not be made.
    make = ["make", "-C", ROOT, "-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}", "data"]
    subprocess.run([*make, f"TASKS={task_tree}", f"OUT={out}", "PROMPT_LANG=en"], check=True, capture_output=True)
    assert "Two screenshots follow" in rows_of(out)[2]["conversations"][0]["value"]
    missing = subprocess.run(make, capture_output=True, text=True)
    assert missing.returncode != 0
    assert "set TASKS=<folder of task folders>" in missing.stderr


def test_a_folder_as_out_is_refused_before_the_work(task_tree, tmp_path, capsys):
    assert main([str(task_tree), "--out", str(tmp_path)]) == 2
    assert f"data: --out {tmp_path}: is a folder: give a file" in capsys.readouterr().err
