"""Whose row is whose: tasks, several files, comparisons of several scores."""

import json
from argparse import Namespace

import pytest
from PIL import Image

from overlay.action.space import SPACES, Space
from overlay.errors import DataError, SettingError
from overlay.evaluate.rows import Asked, rows_of
from overlay.evaluate.tables import check_judged, labels, read_table, summary
from overlay.pages.groups import groups
from overlay.prompt.style import PromptStyle
from tests.evaluate.parts import action, asked, fields, row, screen, tree, write

FLAT = "{task}_{step}.png"


@pytest.mark.parametrize(
    "layout",
    ["{task}/{task}_{step}.png", "{task}/images/{step}.png", "{task}/{step}/screen.png", "all/{task}/{step}.png", FLAT],
)
def test_screens_may_lie_anywhere_below_the_image_folder(tmp_path, layout):
    found = asked(*tree(tmp_path, layout))
    names = [each["task"] for each in found.rows]
    assert names == [name for name in dict.fromkeys(names) for _ in range(2)]  # three tasks of two steps, in order
    assert len(set(names)) == 3
    assert all(name.startswith(str(tmp_path / "rows.jsonl")) for name in names)


def test_tasks_of_two_files_are_apart(tmp_path):
    files, folders = zip(*(tree(tmp_path / name, "{task}/{step}.png", colour=90) for name in "ab"), strict=True)
    found = asked(":".join(files), ":".join(folders))
    assert len({each["task"] for each in found.rows}) == 6
    figures = summary(found, [action("wait")] * 12)
    assert (figures["tasks"], figures["metrics"]["task_success_rate"]["n"]) == (6, 6)
    assert len({each["task"] for each in asked(":".join(files), ":".join(folders), limit=8).rows}) == 4
    with pytest.raises(DataError, match="2 data files but 1 in --images"):
        asked(":".join(files), folders[0])


def test_a_row_says_its_task(tmp_path):
    screen(tmp_path / "x.png")
    rows = [row("x.png", action("wait"), fields("same"), task=name) for name in ("a", "b", 7, "a")]
    found = asked(str(write(tmp_path / "rows.jsonl", rows)), str(tmp_path))
    assert [each["task"].rpartition(":")[2] for each in found.rows] == ["a", "b", "7", "a"]


def test_what_rules_need_comes_from_the_row(tmp_path):
    screen(tmp_path / "x.png")
    said = {"tap": [50, 60], "elements": [[0, 0, 100, 200], [40.5, 50, 60, 70]], "candidates": [[40, 50, 60, 70]]}
    rows = [row("x.png", action("click", "40,50,60,70"), **said), row("x.png", action("click", "40,50,60,70"))]
    found = asked(str(write(tmp_path / "rows.jsonl", rows)), str(tmp_path))
    known, bare = (each["screen"] for each in found.rows)
    assert (known.size, known.tap, known.candidates) == ((100, 200), (50, 60), [(40, 50, 60, 70)])
    assert len(known.elements) == 2
    assert bare.elements is bare.candidates is bare.tap is None
    rules = summary(found, [action("click", "90,190")] * 2)["rules"]
    assert rules["aitw"]["steps"]["n"] == rules["aitw"]["clicks"]["n"] == 1
    assert rules["aitw"]["not_judged"] == {"the row lacks elements": 1}
    assert rules["aitw"]["steps"]["value"] == 1.0  # in the element that is the whole screen
    assert rules["infigui"]["steps"]["value"] == 0.0
    assert (rules["odyssey"]["centre_for_tap"], rules["box"]["centre_for_tap"]) == (1, 0)
    assert (rules["box"]["steps"]["n"], rules["box"]["not_judged"]) == (2, {})
    with pytest.raises(DataError, match="rule aitw can judge none of the 1 rows: the row lacks elements"):
        check_judged(Asked(found.rows[1:], found.left_out), "aitw")


@pytest.mark.parametrize("space", SPACES)
def test_a_further_right_action_is_scored_drawn_and_told_apart(tmp_path, space):
    Image.new("RGB", (1080, 2400)).save(tmp_path / "x.png")
    also = [action("click", "600,100,700,200"), action("back")]
    gold = action("click", "40,50,160,170")
    file = write(tmp_path / "rows.jsonl", [row("x.png", gold, also=also), row("x.png", gold)])
    style = PromptStyle(space=Space(space))
    found = rows_of(Namespace(data=str(file), images=str(tmp_path), limit=0), style)
    for right in found.rows[0]["also"]:
        assert summary(found, [right, right])["metrics"]["step_success_rate"]["value"] == 0.5
    assert summary(found, [action("wait")] * 2)["metrics"]["step_success_rate"]["value"] == 0.0
    assert found.rows[0]["digest"] != found.rows[1]["digest"]
    record = {"step": 0, "mode": "", "rewards": {}, "advantage": 0, "completion": found.rows[0]["also"][0]}
    shown, bare = groups(each | record for each in found.rows[:2])
    assert [each["kind"] for each in shown["shapes"]] == ["also", "gold"]
    assert shown["shapes"][0]["box"] == pytest.approx((600, 100, 100, 100), abs=2)
    (first,), (second,) = shown["answers"], bare["answers"]
    assert (first["right"], first["match"], second["right"], second["match"] < 0.2) == (True, 1.0, False, True)
    write(tmp_path / "rows.jsonl", [row("x.png", gold, also=["nothing"])])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: also\[0\] is no action"):
        asked(str(tmp_path / "rows.jsonl"), str(tmp_path))


@pytest.mark.parametrize("space", SPACES)
def test_gold_is_not_rounded_to_the_models_numbers(tmp_path, space):
    """333 of 1000 each way in `norm1000`, but more across than down in pixels."""
    Image.new("RGB", (1080, 2400)).save(tmp_path / "x.png")
    file = write(tmp_path / "rows.jsonl", [row("x.png", action("swipe", "100,100,460,899"))])
    found = rows_of(Namespace(data=str(file), images=str(tmp_path), limit=0), PromptStyle(space=Space(space)))
    right, down = (action("swipe", path) for path in ("100,100,900,100", "100,100,100,900"))
    assert summary(found, [right])["metrics"]["step_success_rate"]["value"] == 1.0
    assert summary(found, [down])["metrics"]["step_success_rate"]["value"] == 0.0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"elements": [[1, 2, 3]]}, "'elements' is no list of boxes"),
        ({"elements": "1,2,3,4"}, "'elements' is no list of boxes"),
        ({"candidates": [[1, 2, 3, None]]}, "'candidates' holds what is no number of pixels"),
        ({"tap": [1]}, r"'tap' is not \[x, y\]"),
        ({"tap": [True, 1]}, "'tap' is not"), ({"task": ["a"]}, "'task' is neither text nor a number"),
    ],
)  # fmt: skip
def test_what_a_row_says_wrongly(tmp_path, said, why):
    screen(tmp_path / "x.png")
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {why}"):
        asked(str(write(tmp_path / "rows.jsonl", [row("x.png", action("wait"), **said)])), str(tmp_path))


def scored(folder, found, completions):
    """A score's folder, as `make eval` leaves it."""
    folder.mkdir(parents=True)
    summary(found, completions)["_rows"].to_csv(folder / "rows.csv", index=False)
    return folder


def test_scores_are_compared_by_what_their_rows_hold(tmp_path):
    """Two scores under the same folder name, one of fewer rows: each has its line, and who lacks what is named."""
    data, images = tree(tmp_path, "{task}/{step}.png")
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join(lines[1:]))
    right, wrong = action("wait"), action("back")
    all_rows = asked(data, images)
    first = scored(tmp_path / "ra" / "eval", all_rows, [right] * 3 + [wrong] * 3)
    second = scored(tmp_path / "rb" / "eval", asked(str(fewer), images), [wrong] * 5)
    third = scored(tmp_path / "other", all_rows, [right] * 6)
    runs = summary(all_rows, [right] * 6, [first, second, third, first])["second_less_first"]
    assert list(runs) == ["ra/eval", "rb/eval", "other", "baseline random", "baseline majority", "baseline plan"]
    assert (runs["ra/eval"]["n"], runs["ra/eval"]["only_second"]) == (6, 3)
    assert (runs["rb/eval"]["n"], runs["rb/eval"]["difference"]) == (5, 1.0)
    assert (runs["rb/eval"]["not_in_first"], runs["rb/eval"]["not_in_second"]) == (1, 0)
    assert runs["rb/eval"]["not_in_both"] == [f"{data}:1"]
    assert runs["other"]["difference"] == 0.0


def test_the_style_of_a_model_does_not_keep_its_rows_apart(tmp_path):
    """One pixel of a screen does, and another gold."""
    data, images = tree(tmp_path, "{task}/{step}.png", tasks=1)
    before = [each["digest"] for each in asked(data, images).rows]
    assert [each["digest"] for each in asked(data, images, "aitz").rows] == before  # asked otherwise
    screen(tmp_path / "tasks" / "1" / "1.png", 999)
    asked_again = asked(data, str(tmp_path / "tasks")).rows
    assert asked_again[1]["digest"] == before[1]


def test_labels_are_as_long_as_needed(tmp_path):
    folders = [tmp_path / "a" / "x" / "eval", tmp_path / "b" / "x" / "eval", tmp_path / "eval", tmp_path / "run"]
    found = labels([*folders, tmp_path / "a" / ".." / "run"])
    assert list(found) == ["a/x/eval", "b/x/eval", f"{tmp_path.name}/eval", "run"]


def test_a_score_of_older_code_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("source,task,step_success_rate\nrows.jsonl:1,a,True\n")
    with pytest.raises(SettingError, match=r"--compare .*: rows\.csv has no column digest: score it again"):
        read_table(tmp_path)
    with pytest.raises(SettingError, match=r"--compare .*gone: no rows\.csv there"):
        read_table(tmp_path / "gone")


def test_a_figure_has_its_rule_n_and_interval(tmp_path):
    data, images = tree(tmp_path, "{task}/{step}.png")
    figures = summary(asked(data, images), [action("wait")] * 4 + ["nothing"] * 2)
    assert json.dumps(figures["rules"])  # plain data
    for rule in figures["rules"].values():
        assert {"meaning", "link", "steps", "clicks", "texts", "swipes", "not_judged", "baselines"} <= set(rule)
    known = figures["rules"]["infigui"]["steps"]
    assert (known["n"], known["value"]) == (6, pytest.approx(2 / 3))
    assert known["low"] <= known["value"] <= known["high"]
    assert figures["rules"]["infigui"]["task_progress"]["value"] == pytest.approx(2 / 3)
    assert figures["rules"]["aitw"]["steps"] is None
    assert figures["rules"]["aitw"]["not_judged"] == {"no such type: wait": 6}
