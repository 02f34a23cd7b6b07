"""`make serve`, `make eval` and `make play` with a real vLLM as a user types them, and one model's greedy answers on
all held-out rows by three ways: served, with a local model, by the trainer."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from transformers import AutoModelForImageTextToText

from overlay.backends.trl.train import main
from overlay.data.dataset import load_dataset
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.agreement import healthy
from overlay.training.rollout_file import read
from tests.conftest import needs_chromium
from tests.served_parts import HELD_OUT_TASKS
from tests.stock import ROOT
from tests.vllm.test_colocate import SIZES

pytestmark = pytest.mark.long
ROWS, TOKENS = 106, 24


def make(*words):
    """A make command in this environment, which is up to date."""
    return ["make", "-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}", *map(str, words)]


def made(*words):
    done = subprocess.run(make(*words), cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(vllm_model, tmp_path_factory):
    """Address of what `make serve` started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    with open(log, "w") as out:
        command = make("serve", f"MODEL={vllm_model}", f"PORT={port}")
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    while not healthy(f"http://127.0.0.1:{port}"):
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/v1"
    assert "vllm" in log.read_text()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


@pytest.fixture(scope="module")
def rows(held_out, tmp_path_factory):
    found = load_dataset(str(held_out), HELD_OUT_TASKS, "gui_action", tmp_path_factory.mktemp("arrow"))
    assert len(found) == ROWS
    return found


@pytest.fixture(scope="module")
def local(vllm_model, rows):
    """Greedy answers of a local model."""
    model = AutoModelForImageTextToText.from_pretrained(vllm_model, dtype="float32")
    style = PromptStyle(load_template("zh"))
    return complete(model, load_processor(str(vllm_model)), rows, style, max_new_tokens=TOKENS)


def same(answer, text):
    """vLLM leaves out a last token that ends within a character."""
    return answer == text or (text.startswith(answer) and text.endswith("\ufffd"))


def test_eval_and_the_trainer_have_the_local_models_answers_on_all_rows(
    served, vllm_model, held_out, local, flags, tmp_path
):
    said = dict(zip([f"{held_out}:{number}" for number in range(1, ROWS + 1)], local, strict=True))
    assert len(set(local)) > ROWS / 2  # they do depend on the prompt
    made("eval", f"URL={served}", f"NAME={vllm_model}", f"DATA={held_out}",
         f"IMAGES={HELD_OUT_TASKS}", f"OUT={tmp_path / 'eval'}", f"ARGS=--max_tokens {TOKENS}")  # fmt: skip
    lines = (tmp_path / "eval" / "answers.jsonl").open(encoding="utf-8")
    answers = {record["content"]: record["completion"] for record in map(json.loads, lines)}
    with open(tmp_path / "eval" / "rows.csv", encoding="utf-8") as table:
        sources = {row["source"]: answers[row["content"]] for row in csv.DictReader(table)}
    assert {source: text for source, text in sources.items() if not same(text, said[source])} == {}
    assert len(sources) == ROWS
    assert main(flags(
        model_name_or_path=vllm_model, max_steps=1, learning_rate=0, top_k=1, temperature=1.0, save_strategy="no",
        max_completion_length=TOKENS, eval_strategy="steps", eval_steps=1, eval_data_file_paths=held_out,
        eval_image_folders=HELD_OUT_TASKS, per_device_eval_batch_size=8, **SIZES,
    )) == 0  # fmt: skip
    evaluated = [record for record in read(tmp_path / "run") if record["mode"] == "eval"]
    assert {record["source"] for record in evaluated} == set(said)
    assert [record["source"] for record in evaluated if record["completion"] != said[record["source"]]] == []


@needs_chromium
def test_play_asks_it(served, vllm_model, tmp_path):
    made("play", f"URL={served}", f"NAME={vllm_model}", "EPISODES=1", f"OUT={tmp_path}",
         f"ARGS=--tasks click-button --max_tokens {TOKENS}")  # fmt: skip
    episodes = [json.loads(text) for text in (tmp_path / "episodes.jsonl").open(encoding="utf-8")]
    assert len(episodes) == 1
    assert all(step["completion"] for step in episodes[0]["steps"])
