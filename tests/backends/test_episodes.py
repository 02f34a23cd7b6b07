"""Semi-online training of the model that looks, on its own phone pages' recordings, in both backends."""

import json
import shutil
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file
from trl import TrlParser

from data_prep.convert import convert
from overlay.action.action import described, parse_action
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import main
from overlay.backends.trl.train import train as train_with
from overlay.demo.score import MODEL
from overlay.metrics.flags import gold_action, succeeds
from overlay.metrics.rules.step import screen_of
from overlay.prompt.template import load_template, step_input
from tests.stock import ROOT, ZERO3, run_stock, stock_command

pytestmark = pytest.mark.integration
TASKS = ROOT / "data_prep" / "phone" / "tasks" / "train"
SETTINGS = {
    "episodes": "semi-online", "episode_steps": 2, "patches": 1, "num_generations": 4,
    "per_device_train_batch_size": 8, "max_completion_length": 60, "max_steps": 2, "save_steps": 1,
    "image_folders": TASKS, "min_pixels": 784, "max_pixels": 75264, "learning_rate": 1e-4, "beta": 0.04, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The first two steps of tasks that have two."""
    folder = tmp_path_factory.mktemp("phone")
    convert(TASKS, folder / "all.jsonl", load_template("zh"), decode=False)
    found = {}
    for line in (folder / "all.jsonl").open(encoding="utf-8"):
        found.setdefault(json.loads(line)["image"][0].split("/")[0], []).append(line)
    pairs = islice((lines[:2] for lines in found.values() if len(lines) > 1), 12)
    (folder / "rows.jsonl").write_text("".join(line for pair in pairs for line in pair), encoding="utf-8")
    return folder / "rows.jsonl"


@pytest.fixture(params=["trl", "vlm-r1"])
def run(request, rows, flags, tmp_path, forks):
    """Function (name, **settings): train into that folder, and return it."""

    def of(name, **changed):
        settings, out = SETTINGS | changed, tmp_path / name
        if request.param == "vlm-r1":
            upstream = request.getfixturevalue("upstream")
            run_stock(upstream, ROOT / MODEL, rows, out, processes=2, forks=forks, **settings)
            return out
        line = flags(model_name_or_path=ROOT / MODEL, data_file_paths=rows, output_dir=out, **settings)
        line += ["--model_init_kwargs", '{"dtype": "float32"}']
        train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
        return out

    return of


def records(out):
    """Of both ranks, one after the other."""
    return [json.loads(line) for file in sorted(out.glob("rollouts/*")) for line in file.open(encoding="utf-8")]


def fields(record):
    return step_input(record["problem"])[1]


def check_histories(found, rows):
    """Each second step's history is what that rollout said of the first, or what was recorded where it was wrong;
    returns how many were in words of their own."""
    recorded = {step_input(json.loads(line)["conversations"][0]["value"])[1]["task_content"]:
                step_input(json.loads(line)["conversations"][0]["value"])[1]["history_path_all"]
                for line in list(rows.open(encoding="utf-8"))[1::2]}  # fmt: skip
    own = 0
    for first in range(0, len(found), 8):
        for earlier, later in zip(found[first : first + 4], found[first + 4 : first + 8], strict=True):
            assert fields(earlier)["task_content"] == fields(later)["task_content"]
            assert fields(earlier)["history_path_all"] == []
            action = parse_action(earlier["completion"])
            right = succeeds(action, gold_action(earlier["solution"]), screen_of(earlier))
            words = recorded[fields(later)["task_content"]]
            told = [described(earlier["completion"], action)] if right else words
            assert fields(later)["history_path_all"] == told
            own += told != words
    return own


def test_the_history_of_a_step_is_the_rollouts_own(run, rows):
    out = run("run", per_device_train_batch_size=24, max_steps=1)
    found = records(out)
    assert len(found) in (24, 48)  # three episodes of two steps by four; two ranks in vlm-r1
    assert check_histories(found, rows) > 0
    (entry,) = [entry for entry in map(json.loads, (out / "log.jsonl").open()) if "loss" in entry]
    assert entry["episodes/steps"] == 2
    assert entry["reward"] == pytest.approx(sum(sum(record["rewards"].values()) for record in found) / len(found))
    assert any(record["advantage"] for record in found)


@pytest.mark.long
@pytest.mark.parametrize("patches", [0, 1])  # with none, some steps are not reached
def test_a_resume_is_exact(patches, run, tmp_path):
    whole = run("whole", patches=patches, max_steps=3)
    found = records(whole)
    assert (len(found) % 24 > 0) is (patches == 0)
    shutil.copytree(whole / "checkpoint-1", tmp_path / "half" / "checkpoint-1")
    half = run("half", patches=patches, max_steps=3)
    assert records(half) == [record for record in found if record["step"] >= 1]
    weights, again = (load_file(out / "checkpoint-3" / "model.safetensors") for out in (whole, half))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    before = load_file(whole / "checkpoint-1" / "model.safetensors")
    assert any(not torch.equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"episode_steps": 3}, "a process generates 8 completions at a time, but an episode takes --episode_steps 3"),
        ({"per_device_train_batch_size": 200}, "12 episodes of up to 2 steps (--episode_steps), but one step takes 25"),
        ({"val_split_ratio": 0.2}, "--val_split_ratio holds out steps, not tasks"),
    ],
)
def test_refusals(changed, message, rows, flags, tmp_path, capsys):
    assert main(flags(**SETTINGS | {"model_name_or_path": ROOT / MODEL, "data_file_paths": rows} | changed)) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train: ")]
    assert message in said


@pytest.mark.long
@pytest.mark.parametrize("backend", ["trl", "vlm-r1"])
def test_ranks_under_zero3_play_as_long_as_any_does(backend, rows, flags, tmp_path, forks, request):
    """Two ranks with cut-up weights: an episode ends on one before it does on the other, and both go on alike."""
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    out, settings = tmp_path / "run", SETTINGS | {"patches": 0, "deepspeed": config, "save_strategy": "no"}
    if backend == "vlm-r1":
        upstream = request.getfixturevalue("upstream")
        command, own = stock_command(upstream, ROOT / MODEL, rows, out, cpu=False, **settings)
        ended = forks.run(command, tmp_path / "log", 2, variables=own, folder=upstream)
    else:
        own = {"model_name_or_path": ROOT / MODEL, "data_file_paths": rows, "output_dir": out, "use_cpu": None}
        line, more = flags(**own | settings), ["--model_init_kwargs", '{"dtype": "float32"}']
        variables = {"PYTHONPATH": f"{ROOT / 'tests' / 'gloo'}:{ROOT}"}
        ended = forks.run(["-m", "overlay.backends.trl.train", *line, *more], tmp_path / "log", 2, variables=variables)
    assert ended.statuses == [0, 0], ended.err[-3000:]
    counts = [[record["step"] for record in map(json.loads, file.open())] for file in sorted(out.glob("rollouts/*"))]
    assert counts[0] != counts[1]
    assert all(set(steps) == {0, 1} for steps in counts)
