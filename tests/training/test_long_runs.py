"""A run that is longer than an epoch, is stopped half way through a batch, or ends at its best: in both backends."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.errors import RunStopped, SettingError
from overlay.rewards import REWARDS
from overlay.training.sampler import GroupSampler

pytestmark = pytest.mark.integration
ROWS = 7  # three steps of two prompts an epoch; one row is left over


def letters(completions, **columns):
    """Tells random completions apart."""
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


class Backend:
    """One way to train both: `run(folder, **settings)` returns the trainer, having gone on from what is in `folder`."""

    def __init__(self, name, request, tmp_path):
        self.name, self.request, self.tmp_path = name, request, tmp_path

    def make(self, folder, first=ROWS, **settings):
        settings = {"save_steps": 1, "save_strategy": "steps", "learning_rate": 1e-3, "logging_steps": 1} | settings
        settings |= {"output_dir": str(folder)}
        if self.name == "vlm-r1":
            build = self.request.getfixturevalue("vlm_r1_trainer")
            return build([letters], {"rollout_log_mb": 1}, first, max_completion_length=8, **settings)
        rows = self.tmp_path / f"rows{first}.jsonl"
        demo = self.request.getfixturevalue("demo_rows")
        rows.write_text("".join(demo.open(encoding="utf-8").readlines()[:first]), encoding="utf-8")
        line = self.request.getfixturevalue("flags")(
            data_file_paths=rows, reward_funcs="letters", max_steps=settings.pop("max_steps", None), **settings
        )
        return lambda: train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))

    def run(self, folder, **settings):
        made = self.make(folder, **settings)
        if self.name == "trl":
            return made()
        made.train()
        return made


@pytest.fixture(params=["trl", "vlm-r1"])
def backend(request, tmp_path, monkeypatch):
    monkeypatch.setitem(REWARDS, "letters", letters)
    return Backend(request.param, request, tmp_path)


def rollouts(folder, rank=0):
    """(step, row, completion, advantage) of all that was sampled, in order."""
    lines = [json.loads(line) for line in (folder / "rollouts" / f"rank{rank:05d}.jsonl").open()]
    return [(line["step"], line["source"].rsplit(":", 1)[1], line["completion"], line["advantage"]) for line in lines]


def losses(trainer):
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}


@pytest.mark.parametrize(
    ("settings", "stopped"),
    [
        ({"num_train_epochs": 2}, 4),  # in the second epoch
        ({"num_train_epochs": 2}, 3),  # between the two
        ({"num_train_epochs": 2, "num_iterations": 2}, 3),  # in the middle of a batch's iterations
        ({"num_train_epochs": 2, "num_iterations": 2}, 9),  # and in the second epoch
        ({"num_train_epochs": 3, "gradient_accumulation_steps": 2}, 2),  # two micro-steps a step, second epoch
        ({"num_train_epochs": 3, "gradient_accumulation_steps": 2, "num_iterations": 2}, 3),
    ],
)
def test_a_resume_goes_on_as_if_nothing_had_happened(backend, settings, stopped, tmp_path):
    whole = backend.run(tmp_path / "whole", **settings)
    half = tmp_path / "half"
    shutil.copytree(tmp_path / "whole" / f"checkpoint-{stopped}", half / f"checkpoint-{stopped}")
    resumed = backend.run(half, **settings)
    assert resumed.state.global_step == whole.state.global_step == resumed.state.max_steps
    after = {step: loss for step, loss in losses(whole).items() if step > stopped}
    assert after
    assert {step: loss for step, loss in losses(resumed).items() if step > stopped} == pytest.approx(after, abs=1e-6)
    assert rollouts(half) == [line for line in rollouts(tmp_path / "whole") if line[0] >= stopped]
    reports = {file.name: file.read_text() for file in (half / "no_signal").iterdir()}
    assert reports
    assert all((tmp_path / "whole" / "no_signal" / name).read_text() == text for name, text in reports.items())
    apart = {
        name: (resumed.model.state_dict()[name] - tensor).abs().max().item()
        for name, tensor in whole.model.state_dict().items()
    }
    assert max(apart.values()) < 1e-6, sorted(apart.items(), key=lambda pair: -pair[1])[:5]


def test_two_ranks_save_models_only(flags, forks, tmp_path):
    line = flags(max_steps=1, save_only_model="true", reward_funcs="format", per_device_train_batch_size=1)
    ended = forks.run(["-m", "overlay.backends.trl.train", *line], tmp_path / "log", 2)
    assert ended.statuses == [0, 0], ended.err[-3000:]


def test_other_sizes_start_a_new_batch_or_are_refused(backend, tmp_path):
    """Going on changed is meant here (--resume_changed); a batch of another size cannot be."""
    backend.run(tmp_path / "one", max_steps=4, num_iterations=2)
    for stopped in (2, 3):
        half = tmp_path / f"half{stopped}"
        shutil.copytree(tmp_path / "one" / f"checkpoint-{stopped}", half / f"checkpoint-{stopped}")
        settings = {"max_steps": 4, "num_iterations": 2, "gradient_accumulation_steps": 2}
        if stopped == 3:
            with pytest.raises(SettingError, match="checkpoint-3 lies in the middle of a batch of other sizes"):
                backend.run(half, **settings)
        else:
            assert backend.run(half, **settings).state.global_step == 4


def test_epochs_differ_and_are_whole(backend, tmp_path):
    """Seven rows, two prompts a step: three steps an epoch, and the schedule ends with them."""
    trainer = backend.run(tmp_path / "run", num_train_epochs=2, save_strategy="no")
    assert trainer.state.global_step == trainer.state.max_steps == 6
    sampler = trainer._get_train_sampler()
    orders = []
    for epoch in (0, 1, 0):
        sampler.epoch = epoch
        orders.append(list(sampler))
    assert len(orders[0]) == len(sampler) == 12
    assert orders[0] == orders[2] != orders[1]
    assert all(order[n] == order[n + 1] for order in orders for n in range(0, 12, 2))


def test_fewer_rows_than_a_step_takes(backend, tmp_path):
    with pytest.raises(SettingError, match="1 training rows, but one step takes 2 prompts"):
        backend.run(tmp_path / "run", first=1, num_train_epochs=1)


def test_the_best_model_is_the_one_at_the_end(backend, tmp_path, monkeypatch):
    """The reward of an evaluation falls from step to step, so the first checkpoint is the best."""
    falling = iter([0.9, 0.5, 0.4, 0.3])

    def evaluate(self, *args, **kwargs):
        metrics = {"eval_reward": next(falling), "epoch": self.state.epoch}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    settings = {
        "max_steps": 4, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": "true",
        "metric_for_best_model": "eval_reward", "greater_is_better": "true", "per_device_eval_batch_size": 2,
    }  # fmt: skip
    if backend.name == "trl":
        from overlay.backends.trl.trainer import GuiGRPOTrainer as trainer_class

        settings["val_split_ratio"] = 0.3
    else:
        backend.request.getfixturevalue("vlm_r1_trainer")
        from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer as trainer_class

        settings |= {"load_best_model_at_end": True, "greater_is_better": True}
    monkeypatch.setattr(trainer_class, "evaluate", evaluate)
    trainer = backend.run(tmp_path / "run", **settings)
    best = tmp_path / "run" / "checkpoint-1"
    assert trainer.state.best_model_checkpoint == str(best)
    reloaded = type(trainer.model).from_pretrained(best).state_dict()
    last = type(trainer.model).from_pretrained(tmp_path / "run" / "checkpoint-4").state_dict()
    assert any(not torch.equal(reloaded[name], last[name]) for name in reloaded)
    for name, tensor in trainer.model.state_dict().items():
        torch.testing.assert_close(tensor, reloaded[name], msg=name)


def test_a_gradient_that_is_no_number_stops_before_the_weights(backend, tmp_path, monkeypatch):
    """The loss is finite, its gradient is not."""

    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("nan")

    if backend.name == "trl":
        from overlay.backends.trl.trainer import GuiGRPOTrainer as trainer_class
    else:
        backend.request.getfixturevalue("vlm_r1_trainer")
        from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer as trainer_class
    compute = trainer_class.compute_loss

    def poisoned(self, *args, **kwargs):
        loss = compute(self, *args, **kwargs)
        return Poison.apply(loss) if self.state.global_step == 1 else loss

    monkeypatch.setattr(trainer_class, "compute_loss", poisoned)
    with pytest.raises(RunStopped, match=r"gradient norm nan in step 1: its rows are in .*bad_loss_rank00000\.jsonl"):
        backend.run(tmp_path / "run", max_steps=3)
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-1"]
    assert all(json.loads(line)["source"] for line in (tmp_path / "run" / "bad_loss_rank00000.jsonl").open())
    weights = load_file(tmp_path / "run" / "checkpoint-1" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_sampler_on_its_own():
    plain = GroupSampler(range(5), prompts=2, copies=2, repeats=1, seed=0, shuffle=False)
    assert list(plain) == [0, 0, 1, 1, 2, 2, 3, 3]
    twice = GroupSampler(range(2), prompts=2, copies=1, repeats=2, seed=0, shuffle=False)
    assert list(twice) == [0, 1, 0, 1]
    with pytest.raises(SettingError, match="3 training rows, but one step takes 4 prompts"):
        GroupSampler(range(3), prompts=4, copies=2, repeats=1, seed=0)
