"""Each model family walks the whole way through the commands behind make's goals: a tiny model made from its config,
few rows, one page. What was checked becomes the table of docs/families.md:

    make test-long PYTEST="-k families"; python -m tools.families
"""

import contextlib
import io
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file

from data_prep import check
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples
from overlay.evaluate import score
from overlay.model import adapter
from overlay.model.processor import load_processor
from overlay.play import run as play
from overlay.prompt.style_file import read_style
from overlay.serve import ask, local
from overlay.serve.server import served
from overlay.training import log_file
from tests import families
from tests.conftest import needs_chromium
from tests.model.parity import apart
from tests.served_parts import HELD_OUT_TASKS
from tests.stock import TASKS, run_stock
from tools.families import RESULTS

pytestmark = [pytest.mark.long, pytest.mark.integration]
STEPS, HELD_OUT = 3, 4
SETTINGS = {
    "max_steps": STEPS, "save_steps": 1, "logging_steps": 1, "beta": 0.04, "max_completion_length": 8,
    "learning_rate": 1e-3, "lr_scheduler_type": "constant",
}  # fmt: skip
TOKENS = "12"  # of an answer


class Walk:
    """One family on its way: `model`, its folder; `cells`: what was checked."""

    def __init__(self, name, folder, start):
        self.name, self.folder, self.model, self.start = name, folder, folder / "model", start
        self.cells, self.resumed = {}, []

    def keep(self):
        """In `RESULTS`, in place of what this family had there."""
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found | {self.name: self.cells}, indent=1), encoding="utf-8")

    def losses(self, run):
        return {line["step"]: (line["loss"], line["grad_norm"]) for line in log_file.read(run) if "loss" in line}


@pytest.fixture(scope="module", params=families.PARTS)
def walk(request, demo_rows, mixed_rows, reward_model, forks, upstream, tmp_path_factory):
    """The family's walk; `start(backend, run, **flags)` trains in a process of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    texts = [turn["value"] for line in demo_rows.open() for turn in json.loads(line)["conversations"]]
    families.write(request.param, folder / "model", texts)

    def start(backend, run, **flags):
        values = SETTINGS | {"reward_funcs": reward_model} | flags
        if backend == "vlm-r1":
            run_stock(upstream, folder / "model", mixed_rows, run, 1, forks=forks, **values)
            return ""
        values |= {
            "model_name_or_path": folder / "model", "data_file_paths": mixed_rows, "image_folders": TASKS / "train",
            "arrow_cache_dir": folder / "arrow", "task_type": "gui", "reward_method": "gui_action", "output_dir": run,
            "max_pixels": 84 * 112, "per_device_train_batch_size": 4, "num_generations": 2, "use_cpu": "true",
            "bf16": "false", "dtype": "float32", "report_to": "none", "gradient_checkpointing": "false",
        }  # fmt: skip
        line = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        ended = forks.run(["-m", "overlay.backends.trl.train", *line], run.with_suffix(".log"))
        assert ended.statuses == [0], ended.err[-4000:]
        return ended.err

    made = Walk(request.param, folder, start)
    yield made
    made.keep()


@pytest.fixture(scope="module")
def trained(walk):
    """{backend: (its run's folder, what it printed)}"""
    found = {}
    for backend in ("trl", "vlm-r1"):
        run = walk.folder / backend
        found[backend] = run, walk.start(backend, run)
    return found


@pytest.fixture(scope="module")
def address(trained, tmp_path_factory):
    """URL of `make serve`'s program on TRL's run; it counts a prompt's tokens as training does, or does not start."""
    run, _ = trained["trl"]
    with served(run, tmp_path_factory.mktemp("server") / "log") as url:
        yield url, str(run)


@pytest.fixture(scope="module")
def few(held_out, tmp_path_factory):
    """A few held-out rows as a file."""
    file = tmp_path_factory.mktemp("few") / "held_out.jsonl"
    file.write_text("".join(held_out.open(encoding="utf-8").readlines()[:HELD_OUT]), encoding="utf-8")
    return file


def printed(main, *line):
    """What a command prints; its status is 0."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(list(map(str, line))) == 0
    return out.getvalue()


def own_name(name):
    """A tensor's name in every layout: of the first families' checkpoints the text model has no part of the name."""
    return name.removeprefix("base_model.model.").replace("language_model.", "").removeprefix("model.")


def test_data_check(walk, mixed_rows, tmp_path):
    """Its token counts are the real processor's, of the prompts that training has."""
    line = [mixed_rows, "--images", TASKS / "train", "--processor", walk.model, "--max-pixels", 84 * 112]
    told = json.loads(printed(check.main, *line).split("prompt tokens: ")[1].splitlines()[0])
    processor = load_processor(str(walk.model), max_pixels=84 * 112)
    style = check.style_of_training(str(walk.model), processor)
    lengths = []
    for example in as_examples(load_dataset(str(mixed_rows), str(TASKS / "train"), "gui_action", tmp_path), style):
        text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
        made = processor(text=[text], images=example["images"] or None, return_tensors="pt")
        lengths.append(made["input_ids"].shape[1])
    assert (told["p0"], told["p100"]) == (min(lengths), max(lengths))
    walk.cells["data-check"] = f"{len(lengths)} rows of {min(lengths)} to {max(lengths)} tokens"


def test_log_probs(walk):
    far, packed = apart(walk.name)
    assert far < 1e-5
    walk.cells["log-probs"] = f"{far:.0e}"
    walk.cells["prompt shared"] = "yes" if packed else "no"


@pytest.mark.parametrize("backend", ["trl", "vlm-r1"])
def test_train(backend, walk, trained):
    """Finite losses, and every tensor of the model moved."""
    run, _ = trained[backend]
    losses = walk.losses(run)
    assert sorted(losses) == list(range(1, STEPS + 1))
    assert all(math.isfinite(value) for pair in losses.values() for value in pair)
    before, after = (load_file(folder / "model.safetensors") for folder in (walk.model, run / f"checkpoint-{STEPS}"))
    assert before.keys() == after.keys()
    stayed = [name for name, tensor in before.items() if torch.equal(tensor, after[name])]
    assert not stayed, stayed
    walk.cells[f"train {backend}"] = f"{STEPS} steps, {len(after)} tensors moved"


def test_coordinates(walk, trained):
    run, told = trained["trl"]
    style = read_style(run)
    assert style.space.cell == families.CELLS[walk.name]
    assert f"--coordinate_space auto: {style.space.name}, for {walk.name} was trained to count so" in told
    assert ("each completion computes its prompt anew" in told) == (walk.name not in families.FAMILIES)
    walk.cells["coordinates"] = f"`{style.space.name}`, cell {style.space.cell}"


@pytest.mark.parametrize("backend", ["trl", "vlm-r1"])
def test_resume(backend, walk, trained):
    """Gone on from what was there after step 1, the losses and gradients are the unbroken run's."""
    run, _ = trained[backend]
    again = walk.folder / f"{backend}-resumed"
    shutil.copytree(run / "checkpoint-1", again / "checkpoint-1")
    walk.start(backend, again)
    whole, resumed = walk.losses(run), walk.losses(again)
    assert sorted(resumed) == list(range(2, STEPS + 1))
    far = max(abs(a - b) for step, pair in resumed.items() for a, b in zip(pair, whole[step], strict=True))
    assert far < 1e-5
    walk.resumed.append(f"{backend} {far:.0e}")
    if len(walk.resumed) == 2:
        walk.cells["resume"] = " ".join(walk.resumed)


def test_an_adapter_is_trained_and_merged(walk):
    """On every linear layer outside the tower, each moved; the merged model differs from the base there alone."""
    run, merged = walk.folder / "lora", walk.folder / "merged"
    told = walk.start("trl", run, use_peft="true", lora_r=4, max_steps=2)
    adapters = load_file(run / "adapter_model.safetensors")
    moved = {name for name, tensor in adapters.items() if "lora_B" in name and tensor.any()}
    assert moved
    assert moved == {name for name in adapters if "lora_B" in name}
    assert not [name for name in adapters if "visual" in name]
    assert ("experts stay as they are" in told) == ("moe" in walk.name)
    assert adapter.main([str(run), str(merged)]) == 0
    base, whole = (load_file(folder / "model.safetensors") for folder in (walk.model, merged))
    changed = {own_name(name) for name, tensor in base.items() if not torch.equal(tensor, whole[name])}
    names = {own_name(name).removesuffix(".lora_B.weight") + ".weight" for name in moved}
    assert changed == names
    walk.cells["LoRA, merge"] = f"{len(names)} layers"


def test_eval(walk, address, few, tmp_path):
    url, run = address
    line = ["--url", url, "--name", run, "--data", few, "--images", HELD_OUT_TASKS, "--out", tmp_path / "eval"]
    printed(score.main, *line, "--max_tokens", TOKENS)
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert metrics["metrics"]["step_success_rate"]["n"] == HELD_OUT
    assert (tmp_path / "eval" / "report.html").is_file()
    walk.cells["eval"] = f"N = {HELD_OUT}"


def test_serve_and_infer(walk, address, few, tmp_path):
    """The served model's answer is, token for token, the one that the folder gives without a server."""
    url, run = address
    line = ["--data", few, "--images", HELD_OUT_TASKS, "--index", "1", "--max_tokens", TOKENS]
    told = printed(ask.main, "--url", url, "--name", run, *line, "--out", tmp_path / "answer.png")
    own = printed(local.main, run, *line)
    answer = own.split("\n", 1)[1].strip()
    assert answer
    assert answer in told, (answer, told)
    assert (tmp_path / "answer.png").stat().st_size > 0
    walk.cells["serve, infer"] = "as without a server"


@needs_chromium
def test_play(walk, address, tmp_path):
    url, run = address
    line = ["--url", url, "--name", run, "--tasks", "click-test-transfer", "--episodes", "1", "--workers", "1"]
    printed(play.main, *line, "--max_tokens", "8", "--out", tmp_path / "play")
    (one,) = [json.loads(line) for line in (tmp_path / "play" / "episodes.jsonl").open()]
    assert one["steps"]
    assert one["unanswered"] is None or one["unanswered"] == ""
    walk.cells["play"] = f"1 episode, {len(one['steps'])} steps"
