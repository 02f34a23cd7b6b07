"""The studies of what recipes teach: what is drawn and told of made-up figures, and that runs are taken up again."""

import json
from dataclasses import replace

import pytest

from benchmarks.learning import runs
from benchmarks.learning.judged import boxes, sampled_areas
from benchmarks.learning.picture import draw
from benchmarks.learning.recipes import LEFT_OUT, PLAYED, STUDIES
from benchmarks.learning.run import table
from overlay.action.action import Action
from overlay.live.phone.kinds import HELD_OUT_KINDS


def click(*box):
    return Action("click", list(box))


def test_what_is_said_of_boxes():
    """Half the area at a half of the IoU, four times the area, a point, another type and no answer."""
    gold = click(0, 0, 10, 10)
    pairs = [(click(0, 0, 10, 5), gold), (click(0, 0, 20, 20), gold), (click(5, 5), gold), (Action("wait"), gold)]
    found = boxes([*pairs, (None, gold)])
    assert found["area"] == pytest.approx((0.5 * 4) ** 0.5)
    assert found["iou"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert boxes([(None, gold)]) == {"area": 0.0, "iou": 0.0}


def test_a_table_has_means_and_errors():
    results = {"a": [{"hits": 0.5, "folder": ""}, {"hits": 0.7, "folder": ""}], "b": [{"hits": 0.4, "folder": ""}]}
    assert table({"hits": 0.4}, results).splitlines() == [
        "| | hits |", "|---|---|", "| start | 0.400 |", "| a | 0.600 (+0.200 ± 0.100) |", "| b | 0.400 (+0.000) |"
    ]  # fmt: skip


def test_a_picture_has_what_the_runs_logged(tmp_path):
    (tmp_path / "rollouts").mkdir()
    solution = json.dumps({"action_type": "click", "action_parameter": {"click": "0,0,10,10"}})
    answer = solution.replace("10,10", "10,5")
    lines = [{"step": step, "completion": f"<answer>{answer}</answer>", "solution": solution} for step in range(9)]
    (tmp_path / "rollouts" / "rank00000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert sampled_areas(tmp_path) == dict.fromkeys(range(9), 0.5)
    entries = [{"step": step, "rewards/accuracy_reward/mean": 0.1 * step} for step in range(1, 10)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    results = {"a": [{"hits": 0.5, "folder": str(tmp_path)}], "SFT": [{"hits": 0.7, "folder": str(tmp_path / "sft")}]}
    draw("clicks", {"hits": 0.4}, results, True, tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 5000


def test_a_run_is_made_once_and_anew_where_it_is_another(tmp_path, monkeypatch):
    made = []

    def command(what, *line):
        made.append(line)
        (tmp_path / "run").mkdir()

    monkeypatch.setattr(runs, "command", command)
    for steps in (1, 1, 2):
        runs.once(tmp_path / "run", {"max_steps": steps}, "-m", "x")
    assert made == [("-m", "x", "--max_steps", "1"), ("-m", "x", "--max_steps", "2")]


def test_recipes_start_where_the_study_says(tmp_path, monkeypatch):
    """Supervised training first where it is asked, rows with a difficulty where these are, one baseline for all."""
    asked = []
    monkeypatch.setattr(runs, "once", lambda folder, flags, *program: asked.append((program, flags)) or folder)
    monkeypatch.setattr(runs, "write_recordings", lambda *args, **kwargs: None)
    monkeypatch.setattr(runs, "with_difficulty", lambda out, rows: out / "hard.jsonl")
    for study in STUDIES.values():
        for recipe in study.recipes:
            asked.clear()
            runs.trained(tmp_path, recipe, tmp_path / "rows.jsonl", study.steps, 1)
            assert len(asked) == (recipe.warm is not None) + (recipe.flags is not None)
            if recipe.flags is not None:
                flags = asked[-1][1]
                assert flags["seed"] == 1
                assert flags["max_steps"] == study.steps
                assert all(flags[name] == value for name, value in recipe.flags.items())
                assert flags["data_file_paths"].name == ("hard.jsonl" if recipe.sampled else "rows.jsonl")
                assert (flags["model_name_or_path"] == asked[0][1]["output_dir"]) is (recipe.warm is not None)
    baselines = [recipe for study in STUDIES.values() for recipe in study.recipes if recipe.name == "GRPO"]
    assert len(baselines) > 2
    assert len({str(replace(each, shown="")) for each in baselines}) == 1
    assert not {*PLAYED, *LEFT_OUT} & {*HELD_OUT_KINDS}
    assert not {*PLAYED} & {*LEFT_OUT}
