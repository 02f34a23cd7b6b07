"""Loss types by hand, and VLM-R1's compute_loss with them; advantages by --scale_rewards."""

import pytest
import torch

from overlay.backends.vlm_r1.losses import reduce_loss
from overlay.settings import LOSSES, VlmTrainerOptions

LOSS = torch.tensor([[1.0, 3.0, 9.0], [2.0, 9.0, 9.0]])
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


def same(value):
    return value


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("grpo", (2.0 + 2.0) / 2),  # the mean of each completion's mean
        ("bnpo", 6.0 / 3),  # the mean over tokens
        ("dr_grpo", 6.0 / (2 * 4)),  # over rows times the longest that is allowed
        ("dapo", 6.0 / 3),
    ],
)
def test_by_hand(kind, expected):
    assert reduce_loss(LOSS, MASK, kind, 4, same).item() == pytest.approx(expected)


def test_dapo_counts_the_tokens_of_all_ranks():
    # This rank has 3 tokens, the other 9: each divides by the mean of 6, so that the ranks' mean is the tokens' mean.
    assert reduce_loss(LOSS, MASK, "dapo", 4, lambda tokens: (tokens + 9) / 2).item() == pytest.approx(1.0)


def test_a_completion_that_is_left_out_is_no_division_by_zero():
    none = MASK * torch.tensor([[1], [0]])
    for kind in LOSSES:
        assert torch.isfinite(reduce_loss(LOSS, none * 0, kind, 4, same))
    assert reduce_loss(LOSS, none, "grpo", 4, same).item() == pytest.approx(1.0)  # as TRL: it counts as 0


@pytest.mark.parametrize("changed", [{"loss_type": "sapo"}, {"scale_rewards": "all"}])
def test_unknown_names_are_refused(changed):
    with pytest.raises(ValueError, match=rf"--{next(iter(changed))} '{next(iter(changed.values()))}' is none of"):
        VlmTrainerOptions(**changed)


def lengths(completions, **columns):
    return [float(n) for n in range(len(completions))]


@pytest.mark.integration
@pytest.mark.parametrize("kind", LOSSES)
def test_vlm_r1_has_the_value_of_trl(kind, vlm_r1_trainer):
    """At the first step the ratio is 1, so a token's loss is minus its advantage."""
    trainer = vlm_r1_trainer(
        [lengths], {"loss_type": kind, "scale_rewards": "none", "mask_truncated_completions": True}, max_steps=1
    )
    kept = []

    def remember(inputs, model, generate=trainer._generate_and_score_completions):
        result = generate(inputs, model)
        ends = result["completion_ids"].clone()
        ends[0, 3], ends[1, 5] = (trainer.processing_class.eos_token_id,) * 2  # two completions end, two are cut off
        result["completion_ids"], result["truncated"] = ends, torch.tensor([False, False, True, True])
        position = torch.arange(ends.size(1))
        result["completion_mask"] = torch.stack([position <= last for last in (3, 5, 99, 99)]).int()
        kept.append(result)
        return result

    trainer._generate_and_score_completions = remember
    rows = [dict(trainer.train_dataset[n]) for n in (0, 0, 1, 1)]
    loss = trainer.compute_loss(trainer.model, rows)
    advantages = kept[0]["advantages"].tolist()
    assert advantages == [-0.5, 0.5, -0.5, 0.5]
    first, second = -advantages[0] * 4, -advantages[1] * 6  # tokens of the two that ended
    expected = {
        "grpo": (first / 4 + second / 6) / 4, "bnpo": (first + second) / 10, "dapo": (first + second) / 10,
        "dr_grpo": (first + second) / (4 * 12),
    }  # fmt: skip
    assert loss.item() == pytest.approx(expected[kind], abs=1e-6)
