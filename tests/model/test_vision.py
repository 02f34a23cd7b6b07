"""The blank pass of the vision tower: it reaches every gradient and changes nothing, whatever its features are."""

import pytest
import torch

from overlay.model.vision import VISION, keep_in_step, vision_tower
from tests.families import PARTS, make
from tests.model.vision_rank import gradients

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


@pytest.mark.integration
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name == "qwen3_vl" else pytest.mark.long) for name in PARTS]
)
def test_a_rank_without_images_has_the_gradients_of_one_with(family, forks, tmp_path):
    """Two processes; all of the tower, DeepStack's mergers too, is the mean of one rank's images and of nothing."""
    ended = forks.run(["-m", "tests.model.vision_rank", family, tmp_path], tmp_path / "log", 2)
    assert ended.statuses == [0, 0], ended.err[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    model = make(family)
    with_images, without = gradients(model, True), gradients(model, False)
    assert first.keys() == second.keys() == with_images.keys()
    largest = max(gradient.abs().max() for gradient in first.values())
    for name, gradient in first.items():
        assert torch.equal(gradient, second[name]), name
        own = [each[name] for each in (with_images, without) if each[name] is not None]
        assert (gradient - sum(own) / 2).abs().max() < 1e-6 * largest, name
        if VISION in name:
            assert without[name] is None
            assert gradient.any(), name
    assert ("deepstack_merger_list" in " ".join(first)) == ("qwen3_vl" in family)


@pytest.mark.parametrize("family", PARTS)
def test_a_pass_without_images_is_the_models_own(family):
    model = make(family)
    alone = model(input_ids=IDS).logits
    keep_in_step(model)
    assert torch.equal(model(input_ids=IDS).logits, alone)
