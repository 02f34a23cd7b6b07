"""The demo's training with vLLM in the place of transformers' generate: it learns as it does there."""

from math import sqrt
from statistics import fmean

import pytest
from transformers import AutoModelForImageTextToText

from overlay.backends.trl.train import main
from overlay.demo.run import reward_curve, training
from overlay.demo.score import BATCH, MODEL, MOST_TOKENS, TASKS, figures, rows_of, truth_of
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.prompt.style_file import read_style
from tests.vllm.engine import forget, shared_engine

pytestmark = pytest.mark.long
STEPS, EVERY = 40, 2


@pytest.mark.timeout(2400)
def test_the_demo_learns(monkeypatch, tmp_path):
    forget()  # an engine that ends takes the groups of those beside it along
    shared_engine(monkeypatch)
    rows_of(tmp_path, "train")
    heldout = rows_of(tmp_path, "heldout")
    heldout, style = heldout.select(range(0, len(heldout), EVERY)), read_style(MODEL)
    truth = truth_of(heldout, style)

    def hits(folder):
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
        answers = complete(model, load_processor(str(folder)), heldout, style, BATCH, MOST_TOKENS)
        return figures(answers, truth)["grounding_accuracy"]

    about = {"seed": 0, "max_steps": STEPS, "save_steps": STEPS, "report_to": "none", "vllm_max_model_length": 1024}
    line, _ = training(
        "trl", tmp_path / "train.jsonl", TASKS / "train", tmp_path / "run", **about, use_vllm="true",
        vllm_mode="colocate",
    )  # fmt: skip
    assert main(line[line.index("overlay.backends.trl.train") + 1 :]) == 0
    rewards = [reward for _, reward in reward_curve(tmp_path / "run")]
    before, after = hits(MODEL), hits(tmp_path / "run")
    print(
        f"reward {fmean(rewards[:10]):.3f} -> {fmean(rewards[-10:]):.3f}, hits {before.value:.3f} -> {after.value:.3f}"
    )
    share = (before.value + after.value) / 2
    assert after.value - before.value > 2 * sqrt(2 * share * (1 - share) / before.n)
