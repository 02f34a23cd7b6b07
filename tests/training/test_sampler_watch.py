"""The guard between sampler and trainer: what it measures, and when it ends a run."""

from types import SimpleNamespace

import pytest
import torch

from overlay.errors import RunStopped
from overlay.training.sampler_watch import SamplerWatch, slack_of
from overlay.training.vllm_agreement import one_pad_an_image, reason_of, same_prompts


def watch(dtype="float32", slack=0.0):
    return SamplerWatch(dtype, slack, lambda values: values)


def logs(*rows):
    return torch.tensor(rows)


MASK = torch.ones(4, 2)


def test_rounding_is_measured_and_goes_on():
    metrics, reason = watch().look(0, torch.zeros(4, 2), torch.full((4, 2), 1e-6), MASK, 2)
    assert reason is None
    assert metrics["sampler/logp_difference_worst_prompt"] == pytest.approx(1e-6)


def test_one_wrong_prompt_among_right_ones_ends_the_run():
    own = logs([0.0, 0.0], [0.0, 0.0], [-1.0, -2.0], [-1.5, 0.0])
    metrics, reason = watch().look(3, own, torch.zeros(4, 2), MASK, 2)
    assert reason is not None
    assert "do not see the same prompt: in step 3" in reason
    assert "differ by 1.12 a token on prompt 1" in reason
    assert metrics["sampler/logp_difference_max"] == 2.0


def test_the_threshold_is_the_dtypes():
    own = torch.full((4, 2), 0.05)
    assert watch("float32").look(0, own, torch.zeros(4, 2), MASK, 2)[1]
    assert watch("bfloat16").look(0, own, torch.zeros(4, 2), MASK, 2)[1] is None


def test_padding_and_unknown_log_probs_do_not_count():
    own, sampled = logs([-9.0, 0.0], [0.0, -9.0]), logs([float("nan"), 0.0], [0.0, 0.0])
    assert watch().look(0, own, sampled, logs([1.0, 1.0], [1.0, 0.0]), 2)[1] is None


def test_a_part_of_the_distribution_has_slack():
    metrics, reason = watch(slack=1.0).look(0, torch.ones(4, 2), torch.zeros(4, 2), MASK, 2)
    assert (metrics["sampler/logp_difference"], reason) == (1.0, None)
    assert watch(slack=1.0).look(0, torch.ones(4, 2) * 1.6, torch.zeros(4, 2), MASK, 2)[1]
    plain = {"top_p": 1.0, "top_k": None, "min_p": None, "repetition_penalty": 1.0}
    assert slack_of(SimpleNamespace(**plain)) == 0
    for name, value in (("top_p", 0.9), ("top_k", 50), ("min_p", 0.1)):
        assert slack_of(SimpleNamespace(**plain | {name: value})) == 1
    for name, value in (("repetition_penalty", 1.1), ("vllm_structured_outputs_regex", "a")):
        assert slack_of(SimpleNamespace(**plain | {name: value})) == float("inf")


def test_another_prompt_in_the_engine_is_named():
    same_prompts([[1, 6, 6]], [[1, 6, 6]])
    with pytest.raises(RunStopped, match=r"vLLM makes 4 tokens of prompt 1 of the batch, the trainer 3"):
        same_prompts([[1], [1, 6, 6]], [[1], [1, 6, 6, 6]])


def test_runs_of_the_image_token_become_one():
    once = one_pad_an_image([1, 6, 6, 6, 2, 6, 6, 3], 6)
    assert once == [1, 6, 2, 6, 3] == one_pad_an_image(once, 6)
    assert reason_of(ValueError("first\nsecond")) == "first"
