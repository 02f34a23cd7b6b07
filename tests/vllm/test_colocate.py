"""`--use_vllm true` in the trainer's process with a real vLLM: it samples from the prompts that are trained on."""

import json

import pytest

from overlay.backends.trl.workarounds import MARK
from overlay.errors import RunStopped, SettingError
from tests.vllm.engine import forget, shared_engine, unchanged_engine

SIZES = {"max_pixels": 168 * 224, "min_pixels": 28 * 28}
ROUNDING = 1e-4  # nats in float32


@pytest.fixture
def engine(monkeypatch):
    shared_engine(monkeypatch)


@pytest.fixture
def length_reward(monkeypatch):
    """Every group has a gradient."""
    from overlay.rewards import REWARDS

    monkeypatch.setitem(REWARDS, "length", lambda completions, **columns: [float(n) for n in range(len(completions))])


@pytest.fixture
def alone():
    """No other engine before and after: one that ends takes vLLM's groups along."""
    forget()
    yield
    forget()


@pytest.fixture
def run(engine, length_reward, flags, vllm_model):
    """Function: TRL's backend trained with an engine; its trainer."""
    from trl import TrlParser

    from overlay.backends.trl.arguments import ARGUMENTS
    from overlay.backends.trl.train import train

    def run(**changed):
        values = {
            "model_name_or_path": vllm_model, "use_vllm": "true", "vllm_mode": "colocate", "max_steps": 2,
            "temperature": 1.0, "save_strategy": "no",
            "per_device_train_batch_size": 8, "num_generations": 4, "reward_funcs": "format",
        } | SIZES | changed  # fmt: skip
        return train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(**values)))

    return run


@pytest.fixture
def row_kinds(mixed_rows, tmp_path):
    """A file in which rows have four, two, one and no images."""
    rows = [json.loads(line) for line in mixed_rows.open(encoding="utf-8")]
    for row in rows[::4]:
        row["conversations"][0]["value"] += "<image>" * (4 - len(row["image"]))
        row["image"] = [*row["image"], *rows[1]["image"] * 4][:4]
    out = tmp_path / "kinds.jsonl"
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert {len(row["image"]) for row in rows} == {0, 1, 2, 4}
    return out


def differences(trainer, name="sampler/logp_difference_max"):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_any_number_of_images_is_sampled_as_it_is_trained(run, row_kinds):
    trainer = run(data_file_paths=row_kinds, max_steps=6)
    found = differences(trainer)
    assert len(found) == 6
    assert max(found) < ROUNDING
    for entry in trainer.state.log_history[:-1]:
        assert entry["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=0.01)


def test_new_weights_reach_the_engine_from_an_adapter_too(run):
    lora = {"use_peft": "true", "lora_r": 8, "lora_dropout": 0.0}  # dropped in the trainer's passes, not in the engine
    for own in ({"learning_rate": 1e-2}, {"learning_rate": 1e-2} | lora):
        trainer = run(max_steps=3, reward_funcs="length", **own)
        assert max(differences(trainer)) < ROUNDING
        assert max(entry["grad_norm"] for entry in trainer.state.log_history[:-1]) > 0


def test_the_guard_stops_trls_own_way_in_the_first_step(run, monkeypatch):
    """It fails when TRL hands over one pad an image: then the workaround goes."""
    from trl.generation.vllm_generation import VLLMGeneration

    from overlay.backends.trl import workarounds

    theirs = VLLMGeneration.generate
    monkeypatch.setattr(VLLMGeneration, "generate", getattr(theirs, "__wrapped__", theirs))
    monkeypatch.setattr(workarounds, "_one_pad_an_image", lambda: None)
    with pytest.raises(RunStopped, match=r"sampler and trainer do not see the same prompt: in step 0"):
        run()


def test_trl_still_leaves_the_dtype_to_vllm(engine, vllm_model):
    """It fails when TRL hands over a dtype: then the workaround goes."""
    from accelerate import Accelerator
    from transformers import AutoModelForImageTextToText
    from trl.generation import vllm_generation

    from overlay.model.processor import load_processor

    seen = []
    vllm_generation.LLM = lambda **settings: seen.append(settings)  # put back by the fixture
    start = vllm_generation.VLLMGeneration._init_vllm
    own = vllm_generation.VLLMGeneration.__new__(vllm_generation.VLLMGeneration)
    model = AutoModelForImageTextToText.from_pretrained(vllm_model)
    vllm_generation.VLLMGeneration._init_vllm = getattr(start, "__wrapped__", start)
    try:
        vllm_generation.VLLMGeneration.__init__(own, model, Accelerator(cpu=True), load_processor(str(vllm_model)))
    finally:
        vllm_generation.VLLMGeneration._init_vllm = start
    assert "dtype" not in seen[0]


def test_a_packed_engine_is_refused_in_one_line(alone, flags, vllm_model, capsys, monkeypatch):
    """vLLM's own CPU build, as it is: its linear layers have no weight to write to."""
    from overlay.backends.trl.train import main

    unchanged_engine(monkeypatch)
    line = flags(
        model_name_or_path=vllm_model, use_vllm="true", vllm_mode="colocate", vllm_max_model_length=1024, **SIZES
    )
    assert main(line) == 2
    assert "takes no new weights (its CPU build does that)" in capsys.readouterr().err.splitlines()[-1]


def test_what_vllm_refuses_is_one_line(alone, run):
    with pytest.raises(SettingError, match=r"--use_vllm: vLLM did not start: .*max_model_len"):
        run(vllm_max_model_length=100_000)


def test_a_screen_that_comes_again_is_encoded_anew(run, demo_rows, tmp_path, monkeypatch):
    """One row, so the same screens in each step; with TRL's own way the engine keeps what the old weights made of them.
    It fails when TRL empties that cache: then the workaround goes."""
    from trl.generation.vllm_generation import VLLMGeneration

    row = next(line for line in demo_rows.open(encoding="utf-8") if len(json.loads(line)["image"]) == 2)
    (tmp_path / "one.jsonl").write_text(row * 4, encoding="utf-8")
    own = {"data_file_paths": tmp_path / "one.jsonl", "reward_funcs": "length", "learning_rate": 1e-2, "max_steps": 3}
    assert max(differences(run(**own))) < ROUNDING
    ours = VLLMGeneration.sync_weights

    def theirs(self):
        ours.__wrapped__(self)

    setattr(theirs, MARK, True)
    monkeypatch.setattr(VLLMGeneration, "sync_weights", theirs)
    with pytest.raises(RunStopped, match="weights of the sampler are not"):
        run(**own, output_dir=tmp_path / "stale")
