import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from data_prep import check, sample
from data_prep.convert import convert
from tests.stock import ROOT


@pytest.fixture
def data(task_tree, tmp_path):
    out = tmp_path / "rows.jsonl"
    convert(task_tree, out, "模板\n")
    return out


def run(module, *arguments):
    return module.main([*map(str, arguments)])


def test_check_counts(data, task_tree, capsys):
    assert run(check, data, "--images", task_tree) == 0
    out = capsys.readouterr().out
    for line in ("rows: 4", "2  1\n", "2  2\n", "6  112x168", "4  click", "4  微信"):
        assert line in out


def test_check_gives_prompt_lengths(data, task_tree, tiny_model_dir, capsys):
    assert run(check, data, "--images", task_tree, "--processor", tiny_model_dir) == 0
    lengths, _, budgets = capsys.readouterr().out.split("prompt tokens: ")[1].partition("\n")
    lengths = json.loads(lengths)
    # A 112x168 screen is 4 x 6 cells of 28 pixels: a row with two has 24 tokens more than a row with one.
    assert lengths["p100"] - lengths["p0"] >= 24
    assert budgets.splitlines()[-1].split() == ["4", "16384"]  # all rows are within that


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda row: row["image"].append("9/9_1.png"), "1 <image> marks but 2 images"),
        (lambda row: row["image"].__setitem__(0, "9/none.png"), "image not found"),
        (lambda row: row["conversations"].pop(), "needs a human and a gpt turn"),
        (lambda row: row["conversations"][1].update(value='{"action_type": "tap"}'), "unknown action type 'tap'"),
        (lambda row: row["conversations"][0].update(value=[]), "neither text nor a number"),
        (lambda row: row.update(also="back"), "'also' is no list of further right answers"),
        (lambda row: row.update(also=[{"action_type": "tap"}]), "also[0] is no action, as the row's own answer is"),
        (
            lambda row: row.update(
                also=[
                    {"action_type": "back", "action_parameter": {"back": ""}},
                    '{"action_type": "click", "action_parameter": {"click": "0,0,500,500"}}',
                ]
            ),
            "also[1]: click '0,0,500,500' lies outside its 112x168 image",
        ),
        (lambda row: row.update(images=row.pop("image")), "image paths stand under 'image', not under 'images'"),
        (lambda row: row["conversations"].extend(row["conversations"]), "4 turns, but a row is one question"),
        (lambda row: row.update(accu_reward_method="gui_actoin"), "unknown reward method 'gui_actoin' (known: default"),
        (
            lambda row: row["conversations"][1].update(value='{"action_type": "click", "action_parameter": NaN}'),
            "the answer names an action_type and is no JSON (as NaN is none)",
        ),
        (
            lambda row: row["conversations"][1].update(
                value='{"action_type": "click", "action_parameter": {"click": "0.1,0.2,0.3,0.4"}}'
            ),
            "looks like shares of the screen (0 to 1): give pixels of 112x168",
        ),
    ],
)
def test_check_names_line_and_reason(spoil, message, data, task_tree, capsys):
    rows = [json.loads(line) for line in data.open(encoding="utf-8")]
    spoil(rows[0])
    rows[0], rows[2] = rows[2], rows[0]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(check, data, "--images", task_tree) == 1
    assert f"{data}:3: " in (error := capsys.readouterr().err)
    assert message in error


def test_check_reads_what_vlm_r1_documents(tmp_path, capsys):
    rows = [
        {"id": 1, "conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": 4.0}]},
        {"id": 2, "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "<answer>No</answer>"}]},
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(check, tmp_path / "d.jsonl", "--images", tmp_path) == 0
    assert "2  (not an action)" in capsys.readouterr().out


def test_check_reads_vlm_r1s_multi_image_rows(tmp_path, capsys):
    """Two screens, no marks, answers that are no actions: gui_multi-image.jsonl as it is published."""
    Image.new("RGB", (30, 40)).save(tmp_path / "a_1.png")
    turns = [{"from": "human", "value": "Which defect?"}, {"from": "gpt", "value": "Operation No Response"}]
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": 1, "image": ["a_1.png"] * 2, "conversations": turns}) + "\n")
    assert run(check, tmp_path / "d.jsonl", "--images", tmp_path) == 0
    assert "1  2\n" in capsys.readouterr().out


def test_check_counts_what_rows_say_of_themselves(data, task_tree, capsys):
    rows = [json.loads(line) for line in data.open(encoding="utf-8")]
    rows[0] |= {"elements": [[1, 2, 3, 4]], "group": "web", "aligned": False}
    rows[1] |= {"elements": [], "acc_reward_method": "llm"}
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(check, data, "--images", task_tree) == 0
    out = capsys.readouterr().out
    assert "keys that are not read:\n          1  acc_reward_method\n" in out
    for line in (
        "1  annotated\n",
        "1  annotated, none on the screen",
        "2  not annotated",
        "1  web",
        "1  they do not, as",
    ):
        assert line in out


def test_sample_prints_one_row_in_full(data, capsys):
    assert run(sample, data, "--index", 2) == 0
    out = capsys.readouterr().out
    assert "row 2 of 4" in out
    assert '"10/10_2.png"' in out
    assert "--- human ---" in out
    assert '  "screen_path2": "<image>",' in out  # the input, parsed and laid out
    assert '--- gpt ---\n{\n  "action_type": "click"' in out


def test_sample_shows_elements_in_a_line(tmp_path, capsys):
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": 1, "elements": [[1, 2, 3, 4]] * 90}) + "\n")
    assert run(sample, tmp_path / "d.jsonl") == 0
    out = capsys.readouterr().out
    assert "--- elements ---\n[[1, 2, 3, 4], [1, 2" in out
    assert out.count("\n") < 10


def test_sample_is_the_same_for_the_same_seed(data, capsys):
    shown = []
    for _ in range(2):
        run(sample, data, "--seed", 5)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_sample_refuses_a_row_that_is_not_there(data, capsys):
    assert run(sample, data, "--index", 4) == 2
    said = capsys.readouterr().err
    assert said.startswith("sample: INDEX=4: ")
    assert said.endswith("rows 0 to 3\n")


def test_check_refuses_what_is_not_there(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(check, "none.jsonl", "--images", tmp_path) == 2
    assert capsys.readouterr().err == "data-check: none.jsonl: no such file (DATA=)\n"
    assert run(check, data, "--images", "nowhere") == 2
    assert capsys.readouterr().err == "data-check: nowhere: no such folder (IMAGES=)\n"


def test_a_processor_that_is_not_there_is_refused_before_the_rows_are_read(task_tree, tmp_path, capsys):
    convert(task_tree, tmp_path / "rows.jsonl", "")
    line = [str(tmp_path / "rows.jsonl"), "--images", str(task_tree), "--processor", str(tmp_path / "nope")]
    assert check.main(line) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "nope: no model folder, config.json is missing (PROCESSOR=)" in told.err


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_ctrl_c_while_workers_start_is_one_line(delay, tmp_path):
    """The whole group of the terminal gets the signal, at the first moments of the pool."""
    row = json.dumps({"conversations": [{"from": "human", "value": "a" * 400}, {"from": "gpt", "value": "b"}]})
    (tmp_path / "rows.jsonl").write_text((row + "\n") * 100_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "data_prep.check", str(tmp_path / "rows.jsonl"), "--images", str(tmp_path), "--workers",
        "2"], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr.read(1)  # the progress bar is there
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "data-check: stopped" in rest
