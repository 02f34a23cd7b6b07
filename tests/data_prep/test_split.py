"""Rows to train on and rows held out: nothing of a task in both."""

import json
import random

import pytest

from data_prep import split
from overlay.data.rows import parse_row

APPS = ("微信", "Maps", "Clock")


def line(number, step, app="Maps", image=None, **more):
    fields = {"task_content": f"task {number}", "app_name": app, "screen_path2": "<image>"}
    turns = [{"from": "human", "value": "t\n" + json.dumps(fields, ensure_ascii=False)}, {"from": "gpt", "value": "1"}]
    row = {"id": f"{number}-{step}", "image": [image or f"{number}/{step}.png"], "conversations": turns, **more}
    return json.dumps(row, ensure_ascii=False)


def write(path, lines):
    path.write_text("".join(each + "\n" for each in lines), encoding="utf-8")
    return path


def run(data, out, **flags):
    return split.main([str(data), "--out", str(out), *(f"--{name}={value}" for name, value in flags.items())])


def ids(path):
    return [parse_row(each)["id"] for each in path.open(encoding="utf-8")]


@pytest.fixture
def data(tmp_path):
    lines = [line(task, step, APPS[task % 3]) for task in range(60) for step in range(1 + task % 4)]
    random.Random(3).shuffle(lines)
    return write(tmp_path / "rows.jsonl", lines)


def test_no_task_is_in_both(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(data, out, share=0.2) == 0
    train, held = ids(out / "train.jsonl"), ids(out / "held_out.jsonl")
    assert sorted(train + held) == sorted(ids(data))
    task = {name.split("-")[0] for name in train}, {name.split("-")[0] for name in held}
    assert not task[0] & task[1]
    assert len(task[1]) == 12
    assert [n for n in ids(data) if n in set(held)] == held  # the file's order
    # Every app in proportion: 20 tasks of each.
    assert all(3 <= sum(int(name) % 3 == app for name in task[1]) <= 5 for app in range(3))
    said = capsys.readouterr().out
    assert f"{out / 'held_out.jsonl'}: {len(held)} rows, 12 tasks (" in said
    made = json.loads((out / "split.json").read_text())
    assert (made["seed"], made["parts"]["held_out.jsonl"]["rows"]) == (0, len(held))


def test_the_seed_decides(data, tmp_path):
    drawn = []
    for n, seed in enumerate((1, 1, 2)):
        assert run(data, tmp_path / str(n), seed=seed) == 0
        drawn.append((tmp_path / str(n) / "held_out.jsonl").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_apps_stay_whole(data, tmp_path):
    assert run(data, tmp_path / "out", by="app", share=0.3) == 0
    apps = [set(part["apps"]) for part in json.loads((tmp_path / "out/split.json").read_text())["parts"].values()]
    assert len(apps[1]) == 1
    assert not apps[0] & apps[1]


def test_shared_screens_and_said_tasks_stay_together(tmp_path):
    lines = [
        line(1, 1, image="a.png"), line(2, 1, image="a.png"),  # one screen, two questions
        line(3, 1, image="c.png", task="t"), line(4, 1, image="d.png", task="t"),  # a task that the rows name
        line(9, 1), line(9, 2, image="elsewhere/1.png"),  # done twice, in two folders
        *(line(n, 1) for n in range(5, 9)),
    ]  # fmt: skip
    data = write(tmp_path / "rows.jsonl", lines)
    for seed in range(12):
        assert run(data, tmp_path / str(seed), seed=seed, share=0.5) == 0
        names = set(ids(tmp_path / str(seed) / "held_out.jsonl"))
        held = {name.split("-")[0] for name in names}
        assert ("1" in held) == ("2" in held)
        assert ("3" in held) == ("4" in held)
        assert ("9-1" in names) == ("9-2" in names)


@pytest.mark.parametrize(
    ("lines", "flags", "message"),
    [
        ([line(1, 1), line(1, 2)], {}, "all 2 rows are one task, or share screens"),
        ([line(1, 1), "{"], {}, "rows.jsonl:2: not JSON"),
        ([], {}, "rows.jsonl: no rows"),
        ([line(1, 1), line(2, 1)], {"share": 1}, "SHARE=1.0: a share of the tasks, between 0 and 1"),
        ([line(1, 1), line(2, 1)], {"share": "nan"}, "SHARE=nan: a share"),
        ([line(1, 1), line(2, 1)], {"by": "day"}, "invalid choice: 'day'"),
        ([line(1, 1), line(2, 1)], {"by": "app"}, "all 2 rows are one app"),
    ],
)
def test_refused_in_one_line(lines, flags, message, tmp_path, capsys):
    assert run(write(tmp_path / "rows.jsonl", lines), tmp_path / "out", **flags) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("split: ")
    assert message in said
    assert not (tmp_path / "out").exists()


def test_another_split_is_not_written_over(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(data, out) == 0
    assert run(data, out) == 0  # the same one
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert run(data, out, seed=5) == 2
    assert "is there already, with other rows" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (tmp_path / "file").touch()
    assert run(data, tmp_path / "file") == 2
    assert "file" in capsys.readouterr().err
