"""Completions sampled from a shared prefill, and features of images computed once."""

import copy

import pytest
import torch
from transformers import GenerationConfig

from overlay.model.features import ImageFeatures
from overlay.model.packing import Rows
from overlay.model.prefill import share_prefill
from overlay.model.shared_attention import install
from overlay.model.vision import vision_tower
from tests.families import FAMILIES, IMAGE, PAD, batch, make

TWO, ONE, NONE = [(3, 2), (2, 2)], [(4, 1)], []
ROWS = [(1, TWO, 0)] * 3 + [(2, NONE, 0)] * 2 + [(3, ONE, 0)]


def frozen(family):
    model = make(family)
    _, tower = vision_tower(model)
    tower.requires_grad_(False)
    return model, tower


def runs_of(tower):
    """A list that grows with every pass of the tower: how many patches it saw."""
    seen = []
    tower.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_completions_are_the_same_for_the_same_seed(family):
    model, tower = frozen(family)
    inputs = batch(model, ROWS, 0)
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == IMAGE).int()
    config = GenerationConfig(
        do_sample=True, max_new_tokens=12, pad_token_id=PAD, eos_token_id=7, suppress_tokens=[IMAGE, 4, 5, 6]
    )
    torch.manual_seed(3)
    expected = model.generate(**inputs, generation_config=config)
    seen = runs_of(tower)
    features = ImageFeatures(model, bool)
    share_prefill(model, features)
    tokens = []
    vision_tower(model)[0].language_model.register_forward_pre_hook(
        lambda module, args, given: tokens.append(given["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    torch.manual_seed(3)
    got = model.generate(**inputs, generation_config=config)
    assert torch.equal(got, expected)
    assert len({tuple(row) for row in got[:3].tolist()}) == 3  # not one completion three times
    assert tokens[0] == (3, inputs["input_ids"].size(1) - 1)  # each of three prompts once
    assert tokens[1] == (6, 1)
    assert seen == [len(inputs["pixel_values"]) - 2 * 4 * (6 + 4)]  # and its images
    # Checkpointing keeps no cache, and beams and the like are the model's own.
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(3)
    own = type(model).generate(model, **inputs, generation_config=config)
    torch.manual_seed(3)
    assert torch.equal(model.generate(**inputs, generation_config=config), own)
    model.gradient_checkpointing_disable()
    model.eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.lm_head.weight.mul_(-1)
    torch.manual_seed(3)
    assert not torch.equal(twin.generate(**inputs, generation_config=config), expected)  # by its own weights
    beams = GenerationConfig(num_beams=2, max_new_tokens=3, pad_token_id=PAD, eos_token_id=7)
    assert len(model.generate(**inputs, generation_config=beams)) == 6


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_computed_once(family):
    install()
    model, tower = frozen(family)
    features = ImageFeatures(model, bool)
    rows = Rows(model, **batch(model, [(1, TWO, 3), (1, TWO, 5), (3, ONE, 2)], 5), kept=5)
    seen, logits = runs_of(tower), []
    for _ in range(3):
        for chosen in (range(3), range(1), range(2, 3)):
            packed = rows.pack(chosen)
            with features.inputs(packed.pixel_values, packed.image_grid_thw) as images:
                logits.append(model(**packed.inputs, **images).logits.detach())
    assert len(seen) == 1
    for later in range(3, 9):
        assert torch.equal(logits[later], logits[later % 3])
    plain = Rows(model, **batch(model, [(3, ONE, 2)], 5), kept=5).pack()
    images = {"pixel_values": plain.pixel_values, "image_grid_thw": plain.image_grid_thw}
    prompt = plain.layout[0].prompt
    expected = model(**plain.inputs, **images).logits.detach()[:, :prompt]
    torch.testing.assert_close(logits[2][:, :prompt], expected, rtol=0, atol=1e-5)
    features.clear()
    with features.inputs(plain.pixel_values, plain.image_grid_thw) as images:
        assert "pixel_values" in images


def test_what_is_not_kept_is_computed():
    model, tower = frozen("qwen2_5_vl")
    packed = Rows(model, **batch(model, [(1, TWO, 3)], 3), kept=3).pack()

    def asked(features):
        with features.inputs(packed.pixel_values, packed.image_grid_thw) as images:
            model(**packed.inputs, **images)
        return "pixel_values" in images

    pixels = packed.pixel_values.numel() * packed.pixel_values.element_size()
    for limit in (0, pixels):  # both images' pixels alone, without their features
        small = ImageFeatures(model, bool, limit)
        assert [asked(small), asked(small)] == [True, True]
        assert small.bytes <= limit
    alone = ImageFeatures(model, lambda known: False)  # another rank has not seen its images
    assert [asked(alone), asked(alone)] == [True, True]
    both = ImageFeatures(model, bool)
    assert [asked(both), asked(both)] == [True, False]
    packed.pixel_values[0] += 1  # other pixels of the same shape... and the same place in memory
    assert asked(both)
    tower.requires_grad_(True)  # it learns: each pass its own
    assert [asked(both), asked(both)] == [True, True]
