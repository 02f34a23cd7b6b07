"""The faults of tests/demo/test_canaries.py planted in both backends' trainings: the first reward gives them away.

One step, nearly greedy, on held-out clicks with two screens.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from data_prep.convert import convert
from overlay.demo.flags import GRPO, UPSTREAM
from overlay.demo.recordings import ends_early
from overlay.demo.run import reward_curve, training
from overlay.demo.score import TASKS
from overlay.live.phone.screen import HEIGHT, WIDTH
from overlay.prompt.template import load_template

pytestmark = [pytest.mark.long, pytest.mark.integration]
PROMPTS = 48
CANARY = Path(__file__).parents[1] / "canary"


def swapped(row):
    return {**row, "image": row["image"][::-1]}


def without_the_current(row):
    human, gold = row["conversations"]
    value = human["value"][::-1].replace("<image>"[::-1], "", 1)[::-1]
    return {**row, "image": row["image"][:1], "conversations": [{**human, "value": value}, gold]}


# name: (what becomes of a row, flags, variables of the environment)
FAULTS = {
    "smaller pictures": (None, {"max_pixels": WIDTH * HEIGHT // 4}, {}),
    "another space": (None, {"coordinate_space": "norm1000", "max_prompt_length": 500}, {}),  # told in more words
    "another order": (swapped, {}, {}),
    "the current picture left out": (without_the_current, {}, {}),
    "positions without token types": (None, {}, {"PYTHONPATH": str(CANARY)}),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Data lines of held-out clicks with two different screens, where the model was not taught to stop."""
    file = tmp_path_factory.mktemp("rows") / "heldout.jsonl"
    convert(TASKS / "heldout", file, load_template("zh"), workers=1)
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = [row for row in found if len(row["image"]) == 2 and "click" in row["conversations"][1]["value"]]
    found = [row for row in found if ends_early(*(turn["value"] for turn in row["conversations"])) is None]
    assert len(found) > PROMPTS
    return found[:PROMPTS]


def reward(backend, rows, folder, flags, variables):
    """Mean accuracy reward of the first step."""
    folder.mkdir(parents=True)
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    about = {
        "max_steps": 1, "save_steps": 1, "num_generations": 2, "per_device_train_batch_size": 2 * PROMPTS,
        "temperature": 0.01, "report_to": "none", "seed": 0,
    }  # fmt: skip
    name, upstream = backend
    line, environment = training(name, file, TASKS / "heldout", folder / "run", **about | flags)
    environment["PYTHONPATH"] = os.pathsep.join([*variables.values(), environment["PYTHONPATH"]])
    environment["PYTHONPATH"] = environment["PYTHONPATH"].replace(str(UPSTREAM), str(upstream))
    line = [part.replace(str(UPSTREAM), str(upstream)) for part in line]
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    ((_, mean),) = reward_curve(folder / "run")
    return mean


@pytest.fixture(scope="module", params=GRPO)
def backend(request, upstream):
    return request.param, upstream


@pytest.fixture(scope="module")
def right(backend, rows, tmp_path_factory):
    """The reward without a fault."""
    return reward(backend, rows, tmp_path_factory.mktemp("right") / "it", {}, {})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_more_than_half_of_the_reward(fault, backend, rows, right, tmp_path):
    change, flags, variables = FAULTS[fault]
    changed = [change(row) for row in rows] if change else rows
    wrong = reward(backend, changed, tmp_path / "it", flags, variables)
    print(f"{backend[0]}, {fault}: {right:.3f} -> {wrong:.3f}")
    assert wrong < right / 2
