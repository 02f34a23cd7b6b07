"""The blank pass of the vision tower: it reaches every gradient and changes nothing, whatever its features are."""

import pytest
import torch

from overlay.model.vision import VISION, keep_in_step, vision_tower
from tests.families import PARTS, make

IDS = torch.tensor([[9, 10, 11]])


@pytest.mark.parametrize("value", [60_000.0, float("inf"), float("nan")])
def test_features_that_overflow_add_nothing(value):
    """In fp16 a sum of features passes 65,504 long before one of them does."""
    model = make("qwen3_vl")
    alone = model(input_ids=IDS).logits
    keep_in_step(model)
    found = vision_tower(model)
    assert found is not None

    def large(tower, args, output):
        output.pooler_output = (output.pooler_output * 0 + value).half()
        output.deepstack_features = [layer.half() for layer in output.deepstack_features]
        return output

    found[1].register_forward_hook(large)
    output = model(input_ids=IDS, labels=IDS)
    torch.testing.assert_close(output.logits, alone, rtol=0, atol=0)
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert VISION not in name or not parameter.grad.any(), name


@pytest.mark.parametrize("family", PARTS)
def test_a_pass_without_images_is_the_models_own(family):
    model = make(family)
    alone = model(input_ids=IDS).logits
    keep_in_step(model)
    assert torch.equal(model(input_ids=IDS).logits, alone)
