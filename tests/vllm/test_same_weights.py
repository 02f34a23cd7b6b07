"""A run that samples with vLLM ends where one ends that is given the same completions in the place of transformers'
generation: both backends, two screens a prompt, twenty steps."""

import json

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2_5_VLForConditionalGeneration

from overlay.model.processor import write_limited
from overlay.training.trainer import GuiTrainer
from tests.vllm.engine import shared_engine
from tests.vllm.test_colocate import ROUNDING, SIZES, differences, engine, length_reward, run  # noqa: F401  (fixtures)
from tests.vllm.test_vlm_r1 import BASE, length

pytestmark = pytest.mark.long
STEPS = 20
# Without Adam, which makes steps of one size out of gradients that are rounding.
OWN = {
    "max_steps": STEPS, "learning_rate": 1e-2, "lr_scheduler_type": "constant", "logging_steps": 1, "optim": "sgd",
}  # fmt: skip


@pytest.fixture(scope="session")
def demo_rows(demo_rows, tmp_path_factory):
    """Those of the demo's that have two screens."""
    lines = [text for text in demo_rows.open(encoding="utf-8") if len(json.loads(text)["image"]) == 2]
    out = tmp_path_factory.mktemp("two") / "rows.jsonl"
    out.write_text("".join(lines), encoding="utf-8")
    return out


@pytest.fixture
def batches(monkeypatch):
    """The completions of each batch so far, as ids."""
    found, look = [], GuiTrainer._watch_sampler

    def watch(self, result):
        pairs = zip(result["completion_ids"], result["completion_mask"], strict=True)
        found.append([ids[mask.bool()].tolist() for ids, mask in pairs])
        look(self, result)

    monkeypatch.setattr(GuiTrainer, "_watch_sampler", watch)
    return found


@pytest.fixture(params=["trl", "vlm-r1"])
def train(request, run, vlm_r1_trainer, vllm_model, monkeypatch, tmp_path):  # noqa: F811
    """Function (whether vLLM samples) → a trainer that has made its steps."""

    def with_trl(use_vllm):
        return run(**OWN, reward_funcs="length", use_vllm=str(use_vllm).lower(), output_dir=tmp_path / str(use_vllm))

    def with_vlm_r1(use_vllm):
        shared_engine(monkeypatch)
        limited = tmp_path / "limited"
        if not limited.exists():
            write_limited(vllm_model, limited, 784, 84 * 112)
        settings = BASE | OWN | {"use_vllm": use_vllm, "output_dir": str(tmp_path / str(use_vllm))}
        trainer = vlm_r1_trainer([length], model_dir=limited, **settings)
        trainer.train()
        return trainer

    return with_trl if request.param == "trl" else with_vlm_r1


def weights(trainer):
    return {name: tensor.detach().clone() for name, tensor in trainer.model.named_parameters()}


def test_weights_are_those_of_transformers_generation(train, vllm_model, batches, monkeypatch):
    trainer = train(True)
    assert len(differences(trainer)) == STEPS
    assert max(differences(trainer)) < ROUNDING
    for ratio in differences(trainer, "sampling/importance_sampling_ratio/mean"):
        assert ratio == pytest.approx(1, abs=0.01)
    expected, given = weights(trainer), iter(list(batches))

    def generate(self, input_ids, **inputs):
        rows = [torch.tensor(row) for row in next(given)]
        assert len(rows) == len(input_ids)
        pad = self.generation_config.pad_token_id or 0
        return torch.cat([input_ids, pad_sequence(rows, batch_first=True, padding_value=pad)], 1)

    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "generate", generate)
    batches.clear()
    plain = train(False)
    assert next(given, None) is None
    first = Qwen2_5_VLForConditionalGeneration.from_pretrained(vllm_model, dtype=torch.float32)
    start = dict(first.named_parameters())
    found = weights(plain)
    moved = max((found[name] - start[name]).abs().max().item() for name in start)
    apart = max((found[name] - expected[name]).abs().max().item() for name in start)
    print(
        f"\nweights moved by {moved:.2e}, apart by {apart:.2e}; |log-prob difference| {max(differences(trainer)):.1e}"
    )
    assert apart < 0.01 * moved
