"""What a batch says to the optimizer: advantages, and where completions end. By hand, then in both trainers."""

import json

import pytest
import torch
from trl import TrlParser

from overlay.rewards import REWARDS
from overlay.training.advantages import advantages
from overlay.training.ends import end_tokens, ended
from overlay.training.rates import Rates
from overlay.training.recorder import NEEDED

NONE = float("nan")


def test_advantages_by_hand():
    rewards = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    assert advantages(rewards, "none").tolist() == [[-0.5, 0.5], [0, 0]]
    torch.testing.assert_close(advantages(rewards, "group")[0], torch.tensor([-0.5, 0.5]) / (0.5**0.5 + 1e-4))
    torch.testing.assert_close(advantages(rewards, "batch")[0], torch.tensor([-0.5, 0.5]) / (rewards.std() + 1e-4))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_completion_without_a_verdict_has_no_part_in_its_group(scale):
    whole = advantages(torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 0.5]]), scale)
    torn = advantages(torch.tensor([[0.5, 0.5, 0.5, NONE], [0.0, 1.0, 0.5, NONE]]), scale)
    torch.testing.assert_close(torn[:, :3], whole)
    assert torn[:, 3].tolist() == [0, 0]


def test_groups_of_one_verdict_or_none_say_nothing():
    assert not advantages(torch.tensor([[NONE, 0.7, NONE], [NONE, NONE, NONE]]), "group").any()
    assert not advantages(torch.tensor([[NONE, NONE]]), "batch").any()


def test_a_completion_ends_at_the_first_of_all_end_tokens():
    ids = torch.tensor([[5, 9, 1, 1], [5, 8, 9, 1], [5, 6, 7, 5], [9, 9, 8, 8]])
    mask, cut = ended(ids, [8, 9])
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert cut.tolist() == [False, False, True, False]


class FalseVerdicts:
    """A judged reward whose judge gives no verdict on the second completion of the first group."""

    __name__ = "judged"

    def __init__(self):
        setattr(self, NEEDED, True)

    def __call__(self, completions, **columns):
        return [0.5, None, 0.5, 0.2][: len(completions)]


def lengths(completions, **columns):
    return [0.1 * n for n in range(len(completions))]


def check(rows):
    """Of two groups: the one with a single verdict has no signal at all, the other is untouched."""
    assert [row["rewards"]["judged"] for row in rows] == [0.5, None, 0.5, 0.2]
    got = [row["advantage"] for row in rows]
    assert got[:2] == [0.0, 0.0]
    assert got[2] == pytest.approx(-got[3], abs=1e-5)
    assert got[2] > 0.5


@pytest.mark.integration
def test_trl_gives_no_advantage_without_a_verdict(flags, tmp_path, monkeypatch):
    from overlay.backends.trl.arguments import ARGUMENTS
    from overlay.backends.trl.train import train

    monkeypatch.setitem(REWARDS, "judged", FalseVerdicts())
    monkeypatch.setitem(REWARDS, "lengths", lengths)
    line = flags(reward_funcs=["judged", "lengths"], max_steps=1, save_strategy="no")
    train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    check([json.loads(line) for line in (tmp_path / "run" / "rollouts" / "rank00000.jsonl").open()])


@pytest.mark.integration
def test_vlm_r1_gives_no_advantage_without_a_verdict(vlm_r1_trainer, tmp_path):
    trainer = vlm_r1_trainer([FalseVerdicts(), lengths], {"rollout_log_mb": 1}, max_steps=1)
    trainer.train()
    check([json.loads(line) for line in (tmp_path / "rollouts" / "rank00000.jsonl").open()])


@pytest.mark.integration
def test_vlm_r1_masks_what_follows_either_end_token(vlm_r1_trainer):
    """Qwen2.5-VL stops at <|im_end|> and at <|endoftext|>, which is its padding too."""
    trainer = vlm_r1_trainer([lengths], num_iterations=2)
    tokenizer = trainer.processing_class.tokenizer
    assert len(trainer.ends) == 2
    assert trainer.ends == end_tokens([trainer.model.generation_config], tokenizer)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    scripted = torch.tensor([[20, 21, pad, pad], [20, 21, end, pad], [20, 21, 22, 23], [pad] * 4])
    trainer.model.generate = lambda input_ids, **inputs: torch.cat([input_ids, scripted], 1)
    result = trainer._generate_and_score_completions([trainer.train_dataset[n] for n in (0, 0, 1, 1)], trainer.model)
    assert result["completion_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert result["truncated"].tolist() == [False, False, True, False]
    assert trainer._metrics["completion_length"] == [(3 + 3 + 4 + 1) / 4]
    assert trainer._metrics["truncated"] == [0.25]


def test_an_evaluation_says_how_far_tasks_get():
    """Two answers to each step of two tasks: the first task's second answers are right twice and then wrong."""
    gold = '{"action_type": "wait", "action_parameter": {"wait": ""}}'
    places = {"a:1": (0, 1), "a:2": (0, 2), "a:3": (0, 4), "b:1": (1, 1), "alone:1": (2, 1)}
    rates = Rates(lambda values: values, places)
    right = {"a:3": (True, False), "a:1": (True, True), "b:1": (False, True), "a:2": (False, True)}  # in any order
    for source, answers in right.items():
        rows = [(f"<answer>{gold if answer else 'no'}</answer>", source) for answer in answers]
        rates.add([{"completion": text, "solution": gold, "source": source} for text, source in rows])
    found = rates.take()
    assert found["task_progress"] == (1 / 3 + 2 / 3 + 0 + 1) / 4
    assert found["task_success_rate"] == 1 / 4
    assert [found[f"task_curve/{steps}"] for steps in (1, 2, 3)] == [3 / 4, 1 / 2, 0]
    assert "task_curve/4" not in found
    assert rates.take() == {}


@pytest.mark.integration
@pytest.mark.parametrize("backend", ["trl", "vlm-r1"])
def test_rates_of_an_evaluation_are_over_its_rows(backend, flags, vlm_r1_trainer, tmp_path):
    """One right of one, then none of seven: one of eight, not the mean of the batches' means."""
    gold = '{"action_type": "wait", "action_parameter": {"wait": ""}}'
    batches = [[(gold, gold)], [("no action", gold)] * 7]
    if backend == "trl":
        from overlay.backends.trl.arguments import ARGUMENTS
        from overlay.backends.trl.train import train

        line = flags(max_steps=1, save_strategy="no", reward_funcs="format")
        trainer = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    else:
        trainer = vlm_r1_trainer([lengths])
    for batch in batches:
        trainer.rates.add([{"completion": f"<answer>{text}</answer>", "solution": gold} for text, gold in batch])
    logs = {"eval_loss": 0.0}
    trainer.log(logs)
    assert logs["eval_step_success_rate"] == 1 / 8
    trainer.log(again := {"eval_loss": 0.0})
    assert "eval_step_success_rate" not in again
