"""The packed pass against the ordinary one: log-probs and gradients of every family."""

import pytest
import torch

from overlay.model.packing import Rows, why_not
from overlay.model.shared_attention import install
from tests.families import FAMILIES, PARTS, batch, make
from tests.model.parity import NONE, ONE, ROWS, TWO, WIDTH, apart, ordinary, packed_pass

BATCHES = {
    "a group with two screens": [(1, TWO, 5), (1, TWO, 9), (1, TWO, 1)],
    "groups of different lengths, mixed rows": ROWS,
    "a group that is not together": [(1, ONE, 5), (2, TWO, 3), (1, ONE, 2), (2, TWO, 9)],
    "an empty completion": [(1, ONE, 0), (1, ONE, 3)],
}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_gradients_are_those_of_the_ordinary_pass(family, rows, checkpointing):
    install()
    model = make(family)
    assert why_not(model) is None
    if checkpointing:
        model.train()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs = batch(model, BATCHES[rows], WIDTH)
    weight = torch.randn(len(BATCHES[rows]), WIDTH, generator=torch.Generator().manual_seed(1))
    passes = []
    for way in (ordinary, packed_pass):
        model.zero_grad()
        values = way(model, inputs, WIDTH)
        (values * weight).sum().backward()
        passes.append((values.detach(), {name: p.grad for name, p in model.named_parameters()}))
    (expected, gradients), (got, ours) = passes
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert expected.abs().max() > 1
    largest = max(grad.abs().max() for grad in gradients.values() if grad is not None)
    for name, grad in gradients.items():
        assert (grad is None) == (ours[name] is None), name
        if grad is not None:
            assert (ours[name] - grad).abs().max() < 1e-5 * largest, name


@pytest.mark.parametrize("family", PARTS)
def test_log_probs_are_those_of_each_row_alone(family):
    """Packed where a family can be, else padded: linear attention must not see the padding."""
    far, packed = apart(family)
    assert far < 1e-5
    assert packed == (family in FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_without_a_token_to_predict_still_reaches_every_weight(family):
    """As --mask_truncated_completions makes one of completions that were all cut off."""
    install()
    model = make(family)
    values = packed_pass(model, batch(model, [(1, TWO, 0), (1, TWO, 0), (2, NONE, 0)], 3), 3)
    assert torch.equal(values, torch.zeros(3, 3))
    values.sum().backward()  # ranks that wait for a gradient get one
    assert all(p.grad is not None and not p.grad.any() for p in model.model.language_model.parameters())


def test_what_a_pass_computes_is_each_prompt_once():
    model = make("qwen2_5_vl")
    inputs = batch(model, [(1, TWO, 4)] * 8, 4)
    packed = Rows(model, **inputs, kept=4).pack()
    prompt = inputs["input_ids"].size(1) - 4
    assert packed.tokens == prompt - 1 + 8 * (1 + 4)
    assert len(packed.image_grid_thw) == 2
    assert len(packed.pixel_values) * 8 == len(inputs["pixel_values"])


def test_rows_with_the_same_words_and_other_screens_are_two_prompts():
    model = make("qwen2_5_vl")
    inputs = batch(model, [(1, ONE, 4), (1, ONE, 4)], 4)
    inputs["pixel_values"][0] += 1
    assert len(Rows(model, **inputs, kept=4).pack().layout) == 2


def test_who_cannot_is_told_why():
    model = make("qwen2_5_vl")
    model.config.text_config._attn_implementation = "eager"
    assert why_not(model) == "attention eager is none of sdpa, flash_attention_2, flash_attention_3"
    model.config.text_config._attn_implementation = "sdpa"
    model.config.text_config.layer_types = ["full_attention", "sliding_attention"]
    assert why_not(model) == "it has sliding_attention layers"
    model.config.text_config.layer_types, model.config.text_config.attention_dropout = None, 0.1
    assert why_not(model) == "its attention drops weights out"
    assert why_not(torch.nn.Linear(1, 1)) == "its positions are not M-RoPE's"


def test_under_autocast_it_is_as_near_as_the_ordinary_pass():
    install()
    model = make("qwen2_5_vl")
    inputs = batch(model, BATCHES["groups of different lengths, mixed rows"], WIDTH)
    exact = ordinary(model, inputs, WIDTH).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half, packed = ordinary(model, inputs, WIDTH), packed_pass(model, inputs, WIDTH)
        packed.sum().backward()
    assert (packed.float() - exact).abs().max() < 2 * (half.float() - exact).abs().max()
    assert model.lm_head.weight.grad.dtype is torch.float32
