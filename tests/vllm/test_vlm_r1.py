"""VLM-R1's trainer with `--use_vllm true` and a real vLLM: same prompts, same log-probs, a ratio for what is left."""

import pytest

from overlay.errors import RunStopped
from overlay.model.processor import write_limited
from tests.stock import run_stock
from tests.vllm.engine import shared_engine

ROUNDING = 1e-4  # nats in float32
BASE = {
    "use_vllm": True, "top_k": 0, "max_steps": 3, "per_device_train_batch_size": 8, "num_generations": 4,
    "learning_rate": 1e-2, "logging_steps": 1, "save_strategy": "no", "lr_scheduler_type": "constant",
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_model_dir(vllm_model, tmp_path_factory):
    """With the pixel limits that `vlm_r1_trainer` asks for."""
    write_limited(vllm_model, tmp_path_factory.mktemp("limited") / "model", 784, 84 * 112)
    return next(tmp_path_factory.getbasetemp().glob("limited*/model"))


def length(completions, **columns):
    """A reward under which every group has a gradient."""
    return [float(number) for number in range(len(completions))]


@pytest.fixture
def build(vlm_r1_trainer, monkeypatch):
    """Function: a trainer with an engine."""
    shared_engine(monkeypatch)
    return lambda **settings: vlm_r1_trainer([length], **BASE | settings)


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.mark.parametrize(
    "own", [{}, {"num_iterations": 2, "max_steps": 4}, {"beta": 0.1, "loss": "dapo"}], ids=["one", "two", "kl"]
)
def test_it_samples_from_what_is_trained(build, own):
    trainer = build(**{name: value for name, value in own.items() if name != "loss"})
    before = trainer.model.get_input_embeddings().weight.detach().clone()
    trainer.train()
    found = logged(trainer, "sampler/logp_difference_max")
    assert len(found) >= 2
    assert max(found) < ROUNDING
    assert logged(trainer, "sampling/importance_sampling_ratio/mean") == pytest.approx([1.0] * len(found), abs=0.01)
    assert not before.equal(trainer.model.get_input_embeddings().weight)


def test_an_adapter_is_merged_for_the_engine(build):
    from peft import LoraConfig

    trainer = build(peft_config=LoraConfig(r=8, lora_dropout=0.0, target_modules=["q_proj", "down_proj"]), beta=0.1)
    trainer.train()
    assert max(logged(trainer, "sampler/logp_difference_max")) < ROUNDING
    assert max(logged(trainer, "grad_norm")) > 0


def test_each_prompt_is_asked_for_once_and_weights_go_once_a_step(build, monkeypatch):
    trainer = build(gradient_accumulation_steps=2, max_steps=2)
    vllm, asked, synced = trainer.engine.vllm, [], []
    generate, sync = vllm.generate, vllm.sync_weights
    monkeypatch.setattr(vllm, "generate", lambda *args: asked.append((len(args[0]), args[2])) or generate(*args))
    monkeypatch.setattr(vllm, "sync_weights", lambda: synced.append(trainer.state.global_step) or sync())
    trainer.train()
    assert asked == [(2, 4)] * 4
    assert synced == [0, 1]


def test_the_ratio_weighs_the_loss_and_a_wrong_sampler_stops_the_run(build, monkeypatch):
    trainer = build()
    sampled, look = type(trainer.engine).importance, trainer.sampler_watch.look
    ratios = []
    monkeypatch.setattr(
        type(trainer.engine), "importance", lambda self, own: ratios.append(sampled(self, own - 0.5)) or ratios[-1]
    )
    losses = []
    reduce = trainer.reduce_loss
    monkeypatch.setattr(trainer, "reduce_loss", lambda *args: losses.append(args[2]["importance"]) or reduce(*args))
    monkeypatch.setattr(trainer.sampler_watch, "look", lambda step, own, *rest: look(step, own - 0.5, *rest))
    with pytest.raises(RunStopped, match="sampler and trainer do not see the same prompt: in step 0"):
        trainer.train()
    assert not losses  # before the optimizer, and before the loss
    assert ratios[0].flatten().tolist() == pytest.approx([0.6065] * ratios[0].numel(), abs=1e-3)


def test_the_stock_script_reaches_the_engine(upstream, forks, tiny_model_dir, demo_rows, tmp_path):
    """In a process of its own, with vLLM's CPU build as it is, whose packed weights are refused in one line."""
    settings = {"use_vllm": "true", "max_pixels": 84 * 112, "min_pixels": 784}
    with pytest.raises(AssertionError, match=r"overlay: --use_vllm: this vLLM has packed .* takes no new weights"):
        run_stock(upstream, tiny_model_dir, demo_rows, tmp_path / "run", forks=forks, processes=1, **settings)
