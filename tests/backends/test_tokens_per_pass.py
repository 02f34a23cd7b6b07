"""Training in passes of a bounded number of tokens against training with whole micro-batches: the same gradients,
weights, losses and metrics, whatever the loss divides by; in both backends.

python -m pytest tests/backends/test_tokens_per_pass.py -s      prints the differences
"""

import json
import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.errors import SettingError
from overlay.model.packing import Rows
from overlay.model.vision import vision_tower
from overlay.rewards import REWARDS
from overlay.training import log_file, parts
from tests.backends.test_same_loss import end_of, letters, scripted
from tests.stock import ROOT, ZERO3, stock_command

pytestmark = pytest.mark.integration
BUDGET, SMALL, TINY = 400, 195, 60  # tokens: one group or two (of 160 to 230 tokens), parts of a group, single rows
SETTINGS = {
    "per_device_train_batch_size": 12, "num_generations": 4, "gradient_accumulation_steps": 2, "num_iterations": 2,
    "beta": 0.2, "temperature": 0.7, "max_steps": 3, "learning_rate": 1e-3, "seed": 3, "adam_epsilon": 1e-5,
    "lr_scheduler_type": "constant", "save_strategy": "no", "max_completion_length": 8, "logging_steps": 1,
}  # fmt: skip
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")
OF_TRL = (*LOSSES, "cispo", "sapo", "luspo", "vespo")


@pytest.fixture
def passes(monkeypatch):
    """(tokens, rows, whether it has a gradient) of every packed pass from now on."""
    seen, pack = [], Rows.pack

    def counted(self, chosen=None):
        packed = pack(self, chosen)
        seen.append((packed.tokens, len(chosen), torch.is_grad_enabled()))
        return packed

    monkeypatch.setattr(Rows, "pack", counted)
    return seen


@pytest.fixture
def with_trl(flags, mixed_rows, tmp_path, monkeypatch, tiny_model_dir):
    """Function (**settings) → trainer after its run; `monkeypatch` of what it generates."""
    monkeypatch.setitem(REWARDS, "letters", letters)
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    monkeypatch.setattr(type(model), "generate", scripted(end_of(model)))

    def run(**settings):
        out = tmp_path / f"trl-{len(list(tmp_path.glob('trl-*')))}"
        own = {"reward_funcs": "letters", "output_dir": out, "data_file_paths": mixed_rows}
        return train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(**SETTINGS | own | settings)))

    return run


@pytest.fixture
def with_vlm_r1(vlm_r1_trainer, monkeypatch, tiny_model_dir):
    """The same."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    monkeypatch.setattr(type(model), "generate", scripted(end_of(model)))

    def run(own, frozen=False, **settings):
        trainer = vlm_r1_trainer([letters], own, 12, **SETTINGS | settings)
        if frozen:
            vision_tower(trainer.model)[1].requires_grad_(False)
        trainer.train()
        return trainer

    return run


def figures(trainer):
    """What each step logged, but for times."""
    return [
        {name: value for name, value in entry.items() if name != "step_time"}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def same(whole, cut):
    before, after = (trainer.accelerator.unwrap_model(trainer.model).state_dict() for trainer in (whole, cut))
    difference = max((tensor - after[name]).abs().max().item() for name, tensor in before.items())
    print(f"\nweights apart by {difference:.1e}")
    assert difference < 1e-6
    assert len(figures(whole)) == SETTINGS["max_steps"]
    for expected, got in zip(figures(whole), figures(cut), strict=True):
        assert got == pytest.approx(expected, abs=2e-6, rel=2e-6, nan_ok=True)


def within(passes, budget):
    """No pass over the budget, and several for each micro-batch, whether it has a gradient or not."""
    assert max(tokens for tokens, rows, _ in passes if rows > 1) <= budget
    for policy in (False, True):
        assert [rows for _, rows, gradient in passes if gradient == policy and rows < SETTINGS["num_generations"] * 3]


CASES = {"a tower that learns": {"loss_type": "dapo"},
         "a frozen tower": {"loss_type": "grpo", "freeze_vision_modules": True}}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_trl_makes_the_same_weights(case, with_trl, passes):
    whole = with_trl(**CASES[case])
    passes.clear()
    same(whole, with_trl(**CASES[case], tokens_per_pass=BUDGET))
    within(passes, BUDGET)


@pytest.mark.parametrize("frozen", [False, True])
def test_vlm_r1_makes_the_same_weights(frozen, with_vlm_r1, passes):
    loss = "grpo" if frozen else "dapo"
    whole = with_vlm_r1({"loss_type": loss}, frozen)
    passes.clear()
    same(whole, with_vlm_r1({"loss_type": loss, "tokens_per_pass": SMALL}, frozen))
    within(passes, SMALL)


def backward(trainer, batch, budget, empty):
    """(loss, gradients, metrics) of a batch."""
    trainer.parts.budget, trainer._metrics, step = budget, empty(), trainer._step
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    trainer._step = step
    (loss / (1 if trainer.loss_is_scaled_for_ga else trainer.current_gradient_accumulation_steps)).backward()
    found = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    return loss.item(), found, trainer._metrics


def compare(trainer, batch, passes, empty, budgets=(SMALL,)):
    loss, expected, metrics = backward(trainer, batch, 0, empty)
    largest = max(gradient.abs().max() for gradient in expected.values())
    assert largest > 1e-3
    for budget in budgets:
        passes.clear()
        own, got, ours = backward(trainer, batch, budget, empty)
        assert own == pytest.approx(loss, abs=1e-6, rel=1e-6)
        assert ours == metrics or flat(ours) == pytest.approx(flat(metrics), abs=1e-6, rel=1e-6)
        assert got.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got[name], gradient, rtol=0, atol=1e-6 * largest.item())
        assert len(passes) > 1
        assert all(tokens <= budget or rows == 1 for tokens, rows, _ in passes)


def flat(metrics):
    lists = metrics.get("train", metrics)
    return {f"{name}{n}": value for name, values in lists.items() for n, value in enumerate(values)}


def test_every_loss_of_trl(with_trl, passes, capsys):
    """Groups whole, cut up, and rows that are each over the budget."""
    trainer = with_trl(max_steps=1)
    for kind in OF_TRL:
        trainer.loss_type = kind
        compare(trainer, trainer._buffered_inputs[0], passes, lambda: {"train": defaultdict(list)})
    trainer.importance_sampling_level, trainer._entropy_bonus_enabled, trainer.entropy_coef = "sequence", True, 0.3
    compare(trainer, trainer._buffered_inputs[0], passes, lambda: {"train": defaultdict(list)}, (BUDGET, TINY))
    said = capsys.readouterr().err
    assert said.count("is a pass of its own") == 1


def test_every_loss_of_vlm_r1(with_vlm_r1, passes):
    trainer = with_vlm_r1({}, max_steps=1)
    for kind in LOSSES:
        trainer.options.loss_type = kind
        compare(trainer, [], passes, lambda: defaultdict(list))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokens_per_pass": -1}, "-1: give a number of tokens"),
        ({"share_prompts": "false"}, "prompts that are computed once"),
        ({"top_entropy_quantile": 0.5}, "--top_entropy_quantile"),
        ({"use_adaptive_entropy": "true", "entropy_coef": 0.1}, "--use_adaptive_entropy"),
    ],
)
def test_what_cannot_be_cut_up_is_refused(settings, said, with_trl):
    with pytest.raises(SettingError, match=f"--tokens_per_pass .*{said}"):
        with_trl(**{"tokens_per_pass": BUDGET} | settings)


def test_experts_with_a_loss_of_their_own_are_refused(monkeypatch):
    trainer = SimpleNamespace(args=None, shared=SimpleNamespace(refused=None), aux_loss_enabled=True)
    with pytest.raises(SettingError, match="load balancing"):
        parts.Parts(trainer, 100)


RANKS = [("vlm-r1", 3), ("vlm-r1", None), ("trl", 3), ("trl", 2), ("trl", 1), ("trl", None)]  # ZeRO's stage, None: DDP


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "stage"), [pytest.param(*case, marks=[pytest.mark.long] if n else []) for n, case in enumerate(RANKS)]
)
def test_two_ranks_that_need_different_numbers_of_parts(
    backend, stage, forks, flags, upstream, tiny_model_dir, mixed_rows, reward_model, tmp_path
):
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "sitecustomize.py").write_text(
        "from tests.backends import test_tokens_per_pass as t; t.script()"
    )
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3 | {"zero_optimization": ZERO3["zero_optimization"] | {"stage": stage}}))
    end = end_of(AutoModelForImageTextToText.from_pretrained(tiny_model_dir))
    limit = {"vlm-r1": 375, "trl": 400}[backend]  # between the sums of two groups of one rank and of the other
    paths = f"{tmp_path}/scripted:{ROOT}/tests/gloo:{upstream / 'src'}:{ROOT}"
    for budget in (0, limit):
        out = tmp_path / f"run-{budget}"
        own = {"reward_funcs": reward_model, "tokens_per_pass": budget, "loss_type": "dapo", "max_steps": 2,
               "per_device_train_batch_size": 6, "num_generations": 2}  # fmt: skip
        if stage:
            own["deepspeed"] = config
        variables = {"PYTHONPATH": paths, "END": str(end), "PLANS": f"{tmp_path}/plans-{budget}"}
        if backend == "trl":
            line = flags(**SETTINGS | own | {
                "data_file_paths": mixed_rows, "output_dir": out, "use_cpu": None if stage else "true",
            })  # fmt: skip
            ended = forks.run(["-m", "overlay.backends.trl.train", *line], tmp_path / "log", 2, variables=variables)
        else:
            line, more = stock_command(upstream, tiny_model_dir, mixed_rows, out, cpu=not stage, **SETTINGS | own)
            ended = forks.run(line, tmp_path / "log", 2, variables=more | variables, folder=upstream)
        assert ended.statuses == [0, 0], ended.err[-4000:]
    plans = [line.split() for rank in (0, 1) for line in (tmp_path / f"plans-{limit}-{rank}").read_text().splitlines()]
    assert any(own != count for own, count in plans)  # a rank had to cut finer than it needs
    whole, cut = (load_file(tmp_path / f"run-{n}" / "model.safetensors") for n in (0, limit))
    difference = max((tensor - cut[name]).abs().max().item() for name, tensor in whole.items())
    print(f"\n{backend}, {f'ZeRO-{stage}' if stage else 'DDP'}: weights apart by {difference:.1e}")
    assert difference < 1e-6
    before, after = ([e for e in log_file.read(tmp_path / f"run-{n}") if "loss" in e] for n in (0, limit))
    assert len(before) == 2
    for expected, got in zip(before, after, strict=True):
        assert {**got, "step_time": 0} == pytest.approx({**expected, "step_time": 0}, abs=2e-6, rel=2e-6, nan_ok=True)


def script():
    """In a rank, before anything else: generate what is scripted, and note each plan where PLANS says."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    Qwen2_5_VLForConditionalGeneration.generate = scripted(int(os.environ["END"]))
    stretched = parts.stretched

    def noted(plan, count):
        with open(f"{os.environ['PLANS']}-{os.environ['RANK']}", "a") as file:
            print(len(plan), count, file=file)
        return stretched(plan, count)

    parts.stretched = noted
