"""Training with each prompt computed once for its completions against training with every one anew: the same
completions, the same weights, fewer tokens, fewer images; in both backends."""

import pytest
import torch
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.model.vision import vision_tower
from overlay.rewards import REWARDS

pytestmark = pytest.mark.integration
SETTINGS = {
    "per_device_train_batch_size": 4, "num_generations": 4, "max_steps": 4, "learning_rate": 1e-3, "beta": 0.2,
    "adam_epsilon": 1e-5, "max_completion_length": 8, "lr_scheduler_type": "constant", "save_strategy": "no",
    "num_iterations": 2,
}  # fmt: skip
CASES = {
    "a tower that learns": {},
    "a frozen tower": {"freeze_vision_modules": True},
    "checkpointing": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": '{"use_reentrant": false}'},
    "micro-batches of two groups": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2},
    "an adapter": {
        "use_peft": True,
        "lora_r": 4,
        "lora_dropout": 0.0,
        "adam_epsilon": 1e-3,
        "freeze_vision_modules": True,
        "learning_rate": 1e-2,
    },
}


def letters(completions, **columns):
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


@pytest.fixture
def counted(monkeypatch):
    """{"body": tokens, "tower": passes} of every model that is made from now on."""
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as code

    seen = {"body": 0, "tower": 0}

    def count(kind, name, what):
        theirs = kind.forward

        def forward(self, *args, **kwargs):
            seen[name] += what(kwargs)
            return theirs(self, *args, **kwargs)

        monkeypatch.setattr(kind, "forward", forward)

    count(code.Qwen2_5_VLTextModel, "body", lambda given: given["inputs_embeds"].shape[:2].numel())
    count(code.Qwen2_5_VisionTransformerPretrainedModel, "tower", lambda given: 1)
    return seen


def with_trl(flags, shared, tmp_path, mixed_rows, case):
    line = flags(
        **SETTINGS | case, share_prompts=shared, reward_funcs="letters", output_dir=tmp_path / f"trl-{shared}",
        loss_type="grpo", data_file_paths=mixed_rows,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    return trainer


@pytest.mark.parametrize("case", CASES)
def test_trl_makes_the_same_weights(case, flags, mixed_rows, tmp_path, monkeypatch, counted):
    monkeypatch.setitem(REWARDS, "letters", letters)
    ways = {}
    for shared in (False, True):
        counted.update(body=0, tower=0)
        trainer = with_trl(flags, shared, tmp_path, mixed_rows, CASES[case])
        weights = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        ways[shared] = {name: tensor.clone() for name, tensor in weights.items()}, dict(counted)
        assert (trainer.shared.refused is None) == shared
        assert [entry["grad_norm"] for entry in trainer.state.log_history if entry.get("grad_norm", 0) > 1e-3]
    compare(*ways[False], *ways[True], frozen="freeze_vision_modules" in CASES[case])


def compare(plain, before, shared, after, frozen):
    apart = max((tensor - shared[name]).abs().max().item() for name, tensor in plain.items())
    print(f"\nweights apart by {apart:.1e}; tokens 1/{before['body'] / after['body']:.1f}, "
          f"tower passes {before['tower']} and {after['tower']}")  # fmt: skip
    assert apart < 2e-6
    assert after["body"] * 2 < before["body"]
    if frozen:
        assert after["tower"] * 3 <= before["tower"]


@pytest.mark.parametrize("frozen", [False, True])
def test_vlm_r1_makes_the_same_weights(frozen, vlm_r1_trainer, counted):
    ways = {}
    for shared in (False, True):
        trainer = vlm_r1_trainer([letters], {"share_prompts": shared}, 12, **SETTINGS | {"seed": 3})
        start = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        if frozen:
            vision_tower(trainer.model)[1].requires_grad_(False)
        counted.update(body=0, tower=0)
        torch.manual_seed(0)
        trainer.train()
        ways[shared] = trainer.model.state_dict(), dict(counted)
        moved = max((tensor - start[name]).abs().max().item() for name, tensor in ways[shared][0].items())
        assert moved > 1e-3
    compare(*ways[False], *ways[True], frozen)
