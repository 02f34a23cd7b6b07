"""Episodes with a real vLLM in the process of both trainers: each step is sampled from what is trained on."""

from types import SimpleNamespace

import pytest

from overlay.demo.score import MODEL
from tests.backends.test_episodes import SETTINGS, check_histories, records, rows  # noqa: F401  (a fixture)
from tests.vllm.engine import forget, shared_engine

ROUNDING = 1e-4  # nats in float32
SAMPLED = SETTINGS | {
    "use_vllm": "true", "vllm_mode": "colocate", "max_steps": 3, "save_strategy": "no", "logging_steps": 1,
    "per_device_train_batch_size": 48, "learning_rate": 1e-3, "temperature": 1.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    forget()
    shared_engine(monkeypatch)
    yield
    forget()


def logged(entries, name):
    return [entry[name] for entry in entries if name in entry]


def check(out, entries, recorded):
    """The trainer's log-probs are the engine's at every step and with every step's own history."""
    differences = logged(entries, "sampler/logp_difference_max")
    assert len(differences) == 3
    assert max(differences) < ROUNDING
    assert logged(entries, "sampling/importance_sampling_ratio/mean") == pytest.approx([1.0] * 3, abs=0.01)
    assert max(logged(entries, "grad_norm")) > 0
    found = records(out)
    assert check_histories([record for record in found if record["step"] == 0], recorded) > 0


def test_trl(flags, rows, tmp_path):  # noqa: F811
    from trl import TrlParser

    from overlay.backends.trl.arguments import ARGUMENTS
    from overlay.backends.trl.train import train

    asked = SAMPLED | {"vllm_max_model_length": 1024, "model_init_kwargs": '{"dtype": "float32"}'}
    line = flags(model_name_or_path=MODEL, data_file_paths=rows, output_dir=tmp_path, **asked)
    trainer = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))
    check(tmp_path, trainer.state.log_history, rows)


def test_vlm_r1(upstream, rows, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1.trainer import GRPOConfig
    from open_r1.vlm_modules import Qwen2VLModule

    from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer
    from overlay.data.dataset import load_dataset
    from overlay.data.examples import as_rows
    from overlay.prompt.style_file import read_style
    from overlay.rewards import REWARDS
    from overlay.settings import VlmTrainerOptions
    from overlay.training.semi_online import recordings

    own = ("episodes", "episode_steps", "patches", "image_folders", "min_pixels", "max_pixels", "vllm_mode")
    settings = {name: value for name, value in SAMPLED.items() if name not in own} | {"use_vllm": True, "top_k": 0}
    args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)
    options = VlmTrainerOptions(episodes="semi-online", episode_steps=2, patches=1)
    style, data = read_style(MODEL), load_dataset(str(rows), str(SETTINGS["image_folders"]), "gui_action", tmp_path)
    files = SimpleNamespace(val_split_ratio=0, data_file_paths=str(rows), image_folders=str(SETTINGS["image_folders"]))
    given = as_rows(data, style, answer_tags=True)
    trainer = GuiVLMGRPOTrainer(
        options=options, world=recordings(options, files, args, given, style), model=str(MODEL), args=args,
        reward_funcs=[REWARDS["accuracy"]], vlm_module=Qwen2VLModule(), train_dataset=given,
        attn_implementation="sdpa", torch_dtype="float32", min_pixels=784, max_pixels=75264,
    )  # fmt: skip
    trainer.train()
    check(tmp_path, trainer.state.log_history, rows)
