"""The way of every source: published files → task tree → rows."""

import json

import pytest
from PIL import Image

from data_prep.convert import convert as to_rows
from data_prep.sources.__main__ import convert
from overlay.data.rows import parse_row
from overlay.prompt.template import load_template


@pytest.fixture
def golds(tmp_path):
    """Function (source, path, ...) → (gold actions by task and step, step files, report), through the tree and the
    rows, with what holds for every source."""

    def run(source, path, **options):
        report = convert(source, path, tmp_path / "tasks", **options)
        to_rows(tmp_path / "tasks", tmp_path / "rows.jsonl", load_template("en"), "en")
        rows = [parse_row(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        files = (tmp_path / "tasks").glob("*/step_*.json")
        files = sorted(files, key=lambda p: (int(p.parent.name), int(p.stem.split("_")[1])))
        steps = [json.loads(file.read_text()) for file in files]
        assert [row["solution"] for row in rows] == [json.dumps(s["output"], ensure_ascii=False) for s in steps]
        assert [row["elements"] for row in rows] == [step.get("elements") for step in steps]
        assert [row["tap"] for row in rows] == [step.get("tap") for step in steps]
        assert [row["candidates"] for row in rows] == [step.get("candidates") for step in steps]
        assert [row["group"] for row in rows] == [step.get("group", "") for step in steps]
        assert [row["aligned"] for row in rows] == [lines_up(step) for step in steps]
        for file, step in zip(files, steps, strict=True):
            with Image.open(file.parent / step["input"]["screen_path2"]) as screen:
                for x1, y1, x2, y2 in step.get("elements", []):
                    assert 0 <= x1 < x2 <= screen.width
                    assert 0 <= y1 < y2 <= screen.height
        said = [next(iter(step["output"]["action_parameter"].items())) for step in steps]
        return said, steps, report

    return run


def lines_up(step):
    """Whether the history is the plan's beginning and this step its next entry."""
    plan, history = list(step["input"]["task_path"].values()), step["input"]["history_path_all"]
    return not (plan or history) or [*history, step["output"]["action_description"]] == plan[: len(history) + 1]
