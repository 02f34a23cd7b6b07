"""The same seed and rows give the same completions, rewards and advantages in both trainers.

python -m pytest tests/backends/test_two_backends.py -s      prints the table
"""

import json

import pytest
import torch

from overlay.backends.trl.arguments import TrainArguments
from overlay.backends.trl.trainer import GuiGRPOTrainer
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples, as_rows
from overlay.prompt.style import PromptStyle
from overlay.rewards import REWARDS
from tests.stock import TASKS

pytestmark = [pytest.mark.integration, pytest.mark.slow]
THINK = (
    '<think>{"task_interpretation": 1, "current_page_audit": 2, "path_alignment_check": 3, "action_validation": 4}'
    "</think>"
)


def recording(name, seen):
    """The reward `name`, keeping what it returned."""

    def reward(completions, **columns):
        seen[name] = REWARDS[name](completions, **columns)
        return seen[name]

    reward.__name__ = name
    return reward


@pytest.fixture
def pair(vlm_r1_trainer, demo_rows, tmp_path):
    """(trainer, rows in its form, rewards seen) for VLM-R1 and for TRL on the same weights and six rows."""
    data = load_dataset(str(demo_rows), str(TASKS / "train"), "gui_action", tmp_path / "arrow")
    style, indices, names = PromptStyle(), [0, 0, 60, 60], ("format", "gui_action")
    theirs, ours = {}, {}
    upstream = vlm_r1_trainer([recording(name, theirs) for name in names])
    args = TrainArguments(
        output_dir=str(tmp_path / "trl"), per_device_train_batch_size=4, num_generations=2, use_cpu=True, bf16=False,
        report_to="none", max_completion_length=12,
    )  # fmt: skip
    trl = GuiGRPOTrainer(
        model=upstream.model.name_or_path, reward_funcs=[recording(name, ours) for name in names], args=args,
        train_dataset=as_examples(data, style), processing_class=upstream.processing_class,
    )  # fmt: skip
    trl.generation_config = upstream.generation_config
    rows = [[view[i] for i in indices] for view in (as_rows(data, style), as_examples(data, style))]
    return (upstream, rows[0], theirs), (trl, rows[1], ours)


def scored(trainer, rows):
    """What one generation phase returns, with the sampler at a fixed seed."""
    torch.manual_seed(7)
    extra = () if isinstance(trainer, GuiGRPOTrainer) else (trainer.model,)
    return trainer._generate_and_score_completions(rows, *extra)


def test_the_same_seed_samples_the_same_completions(pair):
    (upstream, their_rows, _), (trl, our_rows, _) = pair
    first, second = scored(upstream, their_rows), scored(trl, our_rows)
    assert torch.equal(first["prompt_ids"], second["prompt_ids"])
    assert torch.equal(first["completion_mask"], second["completion_mask"].int())
    kept = first["completion_mask"].bool()
    assert torch.equal(first["completion_ids"][kept], second["completion_ids"][kept])
    assert len({tuple(row.tolist()) for row in first["completion_ids"]}) > 1


@pytest.mark.parametrize("least", [1.0, 0.2])
def test_the_same_completions_get_the_same_rewards_and_advantages(pair, least):
    """With `least_blame` 0.2: one of two is right in the first group, both are in the second."""
    (upstream, their_rows, theirs), (trl, our_rows, ours) = pair
    golds = [json.loads(row["solution"]) for row in our_rows]
    wrong = {"action_type": "wait", "action_parameter": {"wait": ""}, "action_description": ""}
    texts = [
        f"{THINK}<answer>{json.dumps(golds[0])}</answer>", f"<think>?</think><answer>{json.dumps(wrong)}</answer>",
        f"{THINK}<answer>{json.dumps(wrong)}</answer>", f"<answer>{json.dumps(golds[3])}</answer>",
    ]  # fmt: skip
    tokenizer = upstream.processing_class.tokenizer
    ids = tokenizer([text + tokenizer.eos_token for text in texts], padding=True, padding_side="right")["input_ids"]

    def scripted(input_ids, **inputs):
        return torch.cat([input_ids, torch.tensor(ids)], 1)

    results = []
    for trainer, rows in ((upstream, their_rows), (trl, our_rows)):
        for row in rows[2:]:
            row["also"] = [json.dumps(wrong)]  # of these two prompts' right actions
        trainer.model.generate = scripted
        trainer.options.least_blame = least
        trainer.model.train()
        results.append(scored(trainer, rows))
    print("\nrow    format  gui_action   advantage VLM-R1   advantage TRL")
    for row in range(4):
        advantages = "".join(f"{result['advantages'][row]:19.6f}" for result in results)
        print(f"{row:3} {ours['format'][row]:9.2f} {ours['gui_action'][row]:11.2f}{advantages}")
    assert theirs == ours
    assert ours["gui_action"] == [1, 0, 1, 1]
    assert ours["format"] == [2.5, 1.5, 2.5, 1.0]
    assert (results[0]["advantages"] - results[1]["advantages"]).abs().max() < 1e-6
    up, down, better, worse = results[0]["advantages"].tolist()
    assert -down == pytest.approx(up * (least + (1 - least) / 2), rel=1e-5)
    assert -worse == pytest.approx(better, rel=1e-5)
    assert min(up, better) > 0.5
