"""The steps of our own pages that the demo trains and is scored on: sound, held out, and not to be guessed."""

import json
from collections import Counter

import pytest

from data_prep.phone.render import main
from data_prep.steps import read_step, task_folders
from overlay.data.earlier import step_files
from overlay.evaluate.baselines import plan_step
from overlay.live import chromium
from overlay.live.phone.words import UNSEEN
from tests.conftest import needs_chromium
from tests.stock import ROOT

TASKS = ROOT / "data_prep" / "phone" / "tasks"


def steps_of(root):
    return [read_step(root, file, True) for task in task_folders(root) for file in step_files(root / task)]


def labels_in(step):
    return {name for name in UNSEEN if name in step.input["task_content"]}


def test_the_committed_steps():
    train, heldout = steps_of(TASKS / "train"), steps_of(TASKS / "heldout")
    assert not [step.problems for step in train + heldout if step.problems]
    assert len(train) >= 400
    assert len(heldout) >= 600
    kinds = Counter(step.output["action_type"] for step in heldout)
    assert kinds["click"] + kinds["long_click"] > 0.7 * len(heldout)
    assert min(kinds[kind] for kind in ("click", "long_click", "type", "task_completed")) >= 10
    # Labels that training never sees: in a third of the held-out tasks, where their pages have labels.
    assert not [step for step in train if labels_in(step)]
    unseen = [step for step in heldout if labels_in(step)]
    assert len(unseen) > 100
    asked = [{step.input["task_content"] for step in steps} for steps in (train, heldout)]
    assert len(asked[0] & asked[1]) < 0.1 * len(asked[1])  # those with a single word, on other pages
    size = sum(file.stat().st_size for file in TASKS.rglob("*") if file.is_file())
    assert size <= 20_000_000


def test_the_plan_gives_no_action_away():
    for step in steps_of(TASKS / "heldout"):
        assert plan_step(step.input)[0] not in ("click", "long_click", "type")


@needs_chromium
@pytest.mark.integration
@pytest.mark.long
def test_steps_are_drawn_anew_as_they_are(tmp_path):
    """Words and boxes; pixels may differ with Chromium's version."""
    assert main(["--out", str(tmp_path / "tasks"), "--train-steps", "8", "--heldout-steps", "8"]) == 0
    for split in ("train", "heldout"):
        made = [json.loads(file.read_text()) for file in sorted((tmp_path / "tasks" / split).rglob("*.json"))]
        assert len(made) >= 8
        for file in sorted((tmp_path / "tasks" / split).rglob("*.json")):
            committed = TASKS / file.relative_to(tmp_path / "tasks")
            if committed.exists():  # fewer tasks here than there
                assert json.loads(committed.read_text()) == json.loads(file.read_text())


def test_without_chromium_nothing_is_rendered(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chromium, "CHROMIUM", "/nowhere/chromium")
    assert main(["--out", str(tmp_path / "tasks")]) == 2
    assert capsys.readouterr().err == "demo-data: /nowhere/chromium not found: install Debian's package `chromium`\n"
    assert not list(tmp_path.iterdir())
