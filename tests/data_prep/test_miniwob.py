"""The rendered steps and the oracles behind them, judged by the pages' own rewards in a real Chromium."""

import json
from collections import Counter
from itertools import islice

import pytest

from data_prep.convert import convert
from data_prep.miniwob.render import main, write_episode
from data_prep.steps import read_step, task_folders
from overlay.action.action import as_box, centre
from overlay.data.earlier import step_files
from overlay.live import chromium
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import HELD_OUT_TYPES, ORACLES
from overlay.live.miniwob.solve import solve
from tests.browsers import begin
from tests.conftest import needs_chromium
from tests.stock import TASKS


def steps_of(split):
    root = TASKS / split
    return [read_step(root, file, True) for task in task_folders(root) for file in step_files(root / task)]


def test_the_committed_steps():
    train, heldout = steps_of("train"), steps_of("heldout")
    assert not [step.problems for step in train + heldout if step.problems]
    assert 280 <= len(train) <= 330
    assert 95 <= len(heldout) <= 115
    train_types = Counter(step.input["app_name"] for step in train)
    assert len(train_types) >= 25
    # Held out by task type and by seed: whole types, and other episodes of trained types.
    held_types = {step.input["app_name"] for step in heldout}
    assert held_types & set(HELD_OUT_TYPES) == held_types - set(train_types)
    assert held_types - set(HELD_OUT_TYPES)
    size = sum(file.stat().st_size for file in TASKS.rglob("*") if file.is_file())
    assert size <= 6_000_000
    assert "MIT" in (TASKS / "LICENSE.miniwob").read_text()
    kinds = Counter(step.output["action_type"] for step in train)
    assert min(kinds[kind] for kind in ("click", "type", "swipe", "wait", "task_completed")) >= 3


def test_no_step_is_in_both_splits():
    def keys(split):
        return {
            (step.input["task_content"], (TASKS / split / step.images[-1]).read_bytes()) for step in steps_of(split)
        }

    assert not keys("train") & keys("heldout")


@pytest.fixture(scope="module")
def rewarded(request, pages):
    """Function (task) → its first three episodes of 100 seeds that the page rewarded: a busy machine misses some."""

    def play(page, task):
        return list(islice((episode for seed in range(100) if (episode := solve(page, task, f"test-{seed}"))), 3))

    return begin(request, pages, play)


@needs_chromium
@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in ORACLES if task != "button-delay"])
def test_the_pages_reward_is_one_over_several_seeds(task, rewarded, tmp_path):
    episodes = rewarded(task=task)
    assert len(episodes) == 3, f"{task}: hardly any episode with reward 1"
    write_episode(tmp_path / "1", task, episodes[0])
    rows, broken = convert(tmp_path, tmp_path / "rows.jsonl", "")
    assert (rows, broken) == (len(episodes[0][2]), 0)
    assert json.loads((tmp_path / "1" / "step_1.json").read_text())["input"]["screen_path1"] == ""


@pytest.fixture(scope="module")
def tapped(request, pages):
    """Function (task) → the page's rewards for taps in the gold box, in its middle and near two corners, and for one
    elsewhere."""

    def tap(page, task):
        instruction, _, actions = next(e for seed in range(20) if (e := solve(page, task, f"box-{seed}")))
        box = as_box(tuple(int(v) / browser.SCALE for v in actions[0][1].split(",")))
        seed = next(f"box-{s}" for s in range(20) if (e := solve(page, task, f"box-{s}")) and e[2] == actions)

        def reward_at(x, y):
            assert browser.start(page, task, seed) == instruction
            browser.tap(page, x, y)
            return browser.reward(page)

        x, y = centre(box)
        inside = [
            reward_at(x + fx * (box[2] - box[0]) / 2, y + fy * (box[3] - box[1]) / 2)
            for fx, fy in ((0, 0), (0.6, 0.5), (-0.6, -0.5))
        ]
        return inside, reward_at(browser.WIDTH - 3, browser.HEIGHT - 3)

    return begin(request, pages, tap)


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize("task", ["click-test-2", "click-link", "click-tab", "grid-coordinate"])
def test_a_tap_anywhere_in_the_gold_box_is_rewarded_and_elsewhere_is_not(task, tapped):
    inside, elsewhere = tapped(task=task)
    assert inside == [1, 1, 1]
    assert elsewhere != 1


def test_without_chromium_nothing_is_rendered(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chromium, "CHROMIUM", "/nowhere/chromium")
    assert main(["--out", str(tmp_path / "tasks")]) == 2
    assert capsys.readouterr().err == "demo-data: /nowhere/chromium not found: install Debian's package `chromium`\n"
    assert not list(tmp_path.iterdir())
