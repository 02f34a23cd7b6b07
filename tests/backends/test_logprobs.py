"""VLM-R1's log-prob pass in parts: the same values and gradients, and no more logits at once than a part has."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from overlay.model import logprobs
from tests.stock import ZERO3, stock_command

pytestmark = pytest.mark.integration
TEMPERATURE = 0.7


@pytest.fixture
def batch(vlm_r1_trainer):
    """(trainer, its inputs for a log-prob pass): two prompts with images, four completions."""
    trainer = vlm_r1_trainer([lambda completions, **columns: [0.0] * len(completions)], temperature=TEMPERATURE)
    trainer.model.train()
    result = trainer._generate_and_score_completions([trainer.train_dataset[n] for n in (0, 0, 60, 60)], trainer.model)
    ids = torch.cat([result["prompt_ids"], result["completion_ids"]], 1)
    mask = torch.cat([result["prompt_mask"], result["completion_mask"]], 1)
    return trainer, {"input_ids": ids, "attention_mask": mask, **result["multimodal_inputs"]}


def gradients(model, log_probs):
    model.zero_grad()
    (log_probs * torch.linspace(-1, 1, log_probs.numel()).view_as(log_probs)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plainly(model, prompt_length, input_ids, **inputs):
    logits = model(input_ids=input_ids, **inputs).logits[:, prompt_length - 1 : -1]
    return (logits / TEMPERATURE).log_softmax(-1).gather(2, input_ids[:, prompt_length:, None])[..., 0]


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("headless", [False, True])
def test_the_same_values_and_gradients(batch, adapted, headless, monkeypatch):
    trainer, inputs = batch
    model = trainer.model
    if adapted:  # upstream's adapters are on the output layer too
        model = get_peft_model(model, LoraConfig(target_modules=["lm_head", "q_proj"], init_lora_weights=False))
    if headless:  # as models of remote code may be
        monkeypatch.setattr(type(trainer.model), "get_output_embeddings", lambda self: None)
    length = inputs["prompt_length"]
    expected = plainly(model, **inputs)
    wanted = gradients(model, expected)
    for size in (5, 10_000):  # parts that do not divide the tokens, and one part
        monkeypatch.setattr(logprobs, "CHUNK", size)
        found = trainer._get_per_token_logps(model, **inputs)[:, length - 1 :]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        got = gradients(model, found)
        assert set(got) == set(wanted)
        for name, gradient in wanted.items():
            torch.testing.assert_close(got[name], gradient, atol=2e-5, rtol=1e-4, msg=name)
        with torch.no_grad():
            again = trainer._get_per_token_logps(model, **inputs)[:, length - 1 :]
        torch.testing.assert_close(again, expected, atol=1e-5, rtol=0)
        assert "forward" not in model.get_base_model().lm_head.__dict__ if adapted else True


def test_backward_keeps_no_logits(batch, monkeypatch):
    """Tensors of the vocabulary's size that the pass keeps for backward, and the largest that it makes."""
    trainer, inputs = batch
    monkeypatch.setattr(logprobs, "CHUNK", 8)
    vocabulary, kept = trainer.model.lm_head.weight.size(0), []

    def pack(tensor):
        if tensor.size()[-1:] == (vocabulary,) and tensor.dim() > 1:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_probs = trainer._get_per_token_logps(trainer.model, **inputs)
    assert log_probs.requires_grad
    assert not kept
    monkeypatch.setattr(logprobs, "CHUNK", 10_000)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trainer._get_per_token_logps(trainer.model, **inputs)
    assert kept  # the hook would see them


@pytest.mark.slow
def test_parts_under_zero3(upstream, forks, tiny_model_dir, demo_rows, reward_model, tmp_path):
    """Where the output layer's weights are together only during its own call."""
    (tmp_path / "zero3.json").write_text(json.dumps(ZERO3))
    (tmp_path / "small").mkdir()
    patch = "from overlay.model import logprobs; logprobs.CHUNK = 5"
    (tmp_path / "small" / "sitecustomize.py").write_text(patch)
    for name in ("small", "whole"):
        command, variables = stock_command(
            upstream, tiny_model_dir, demo_rows, tmp_path / f"run-{name}", cpu=False, beta=0.04, num_iterations=2,
            deepspeed=tmp_path / "zero3.json", reward_funcs=reward_model, max_completion_length=8,
            adam_epsilon=1e-5,  # the usual 1e-8 makes a whole step of the last bit of a gradient near zero
        )  # fmt: skip
        variables["PYTHONPATH"] = f"{tmp_path / name}:{variables['PYTHONPATH']}"
        ended = forks.run(command, tmp_path / f"{name}.log", 2, variables=variables, folder=upstream)
        assert ended.statuses == [0, 0], ended.err[-3000:]
    small, whole, before = (
        AutoModelForImageTextToText.from_pretrained(folder).state_dict()
        for folder in (tmp_path / "run-small", tmp_path / "run-whole", tiny_model_dir)
    )
    assert max((tensor - before[name]).abs().max() for name, tensor in whole.items()) > 1e-4
    assert max((tensor - small[name]).abs().max() for name, tensor in whole.items()) < 1e-6
