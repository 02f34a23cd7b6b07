"""The embedded trainer on a tiny model: flags, refusals, training, resume. Everything runs on the CPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForImageTextToText
from trl import TrlParser

from overlay.action.action import answer_text
from overlay.action.completion import TOOL_CALL
from overlay.backends.trl.arguments import ARGUMENTS, TrainArguments
from overlay.backends.trl.train import main
from overlay.backends.trl.train import train as train_with
from overlay.data.lengths import prompt_lengths
from overlay.errors import SettingError
from overlay.model.processor import load_processor
from overlay.pages.groups import verdict
from overlay.prompt.style_file import read_style
from overlay.prompt.template import load_template
from overlay.rewards import REWARDS
from overlay.training import rollout_file as rollouts
from overlay.training.rates import are_right
from tests.stock import TASKS

pytestmark = pytest.mark.integration


@pytest.fixture
def flags(flags):
    """The same, with a reward that gives an untrained model gradients."""
    return lambda **changed: flags(**{"reward_funcs": ["spread", "accuracy", "format"]} | changed)


@pytest.fixture(autouse=True)
def spread_reward(monkeypatch):
    """A reward that tells random completions apart."""

    def spread(completions, **columns):
        return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]

    monkeypatch.setitem(REWARDS, "spread", spread)


def train(line):
    return train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line))


def test_a_run_without_thinking(flags, tmp_path):
    """The setting reaches prompts, format reward, metrics of the evaluation, the model's folder and its card."""
    trainer = train(flags(max_steps=1, thinking="false", reward_funcs=["spread", "format"]))
    assert read_style(tmp_path / "run").thinking is trainer.rates.thinking is False
    asked = "".join(part.get("text", "") for part in trainer.train_dataset[0]["prompt"][0]["content"])
    assert "<answer>" in asked
    assert "<think>" not in asked
    form = trainer.reward_funcs[1]
    assert form([[{"role": "assistant", "content": "<answer>{}</answer>"}]], thinking=["a column of the rows"]) == [2.5]
    assert "<think>" not in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_a_run_with_tool_calls(flags, tmp_path):
    """The same of --answer_format; an answer is right as a call, and only so."""
    trainer = train(flags(max_steps=1, answer_format=TOOL_CALL, reward_funcs=["spread", "format"]))
    assert read_style(tmp_path / "run").answer_format == trainer.rates.answer_format == TOOL_CALL
    asked = "".join(part.get("text", "") for part in trainer.train_dataset[0]["prompt"][0]["content"])
    assert ("<answer>" in asked, asked.count("<tools>")) == (False, 1)
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert ("<answer>" in card, card.count("<tools>")) == (False, 1)
    records = rollouts.read(tmp_path / "run")
    assert {record["answer_format"] for record in records} == {TOOL_CALL}
    right = [record | {"completion": answer_text(record["solution"], TOOL_CALL)} for record in records]
    assert {verdict(record) for record in right} == {True}
    other = [record | {"completion": f"<answer>{record['solution']}</answer>"} for record in records]
    assert {verdict(record) for record in other} == {False}
    assert are_right(right, [record["completion"] for record in right]) == [1.0] * len(right)
    trainer.rates.add(right)
    assert trainer.rates.take()["step_success_rate"] == 1


def test_a_run_with_earlier_screens(flags, tmp_path):
    """Rows of one to four images in a batch, packed; another number of screens is another run."""
    settings = {"history_screens": 2, "save_steps": 1, "save_strategy": "steps", "gradient_accumulation_steps": 2}
    trainer = train(flags(max_steps=2, **settings))
    assert read_style(tmp_path / "run").history_screens == 2
    assert trainer.shared.refused is None
    records = rollouts.read(tmp_path / "run")
    counts = {len(record["image_path"]) for record in records}
    assert max(counts) == 4
    assert len(counts) > 1
    shown = [row for row in trainer.train_dataset if row["source"] == records[0]["source"]]
    assert shown[0]["image_path"] == records[0]["image_path"]
    assert all(math.isfinite(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    with pytest.raises(SettingError, match="history_screens 2 there, 1 now"):
        train(flags(max_steps=3, **settings | {"history_screens": 1}))
    with pytest.raises(SettingError, match="--history_screens 9: a number from 0 to 8"):
        train(flags(history_screens=9))


def test_what_tool_calls_cannot_do_is_said_before_the_model_loads(flags, tmp_path, demo_rows, capsys):
    with pytest.raises(SettingError, match="--click_reward iou: with --answer_format tool_call a click is a point"):
        train(flags(answer_format=TOOL_CALL, click_reward="iou"))
    row = json.loads(demo_rows.read_text(encoding="utf-8").splitlines()[0])
    row["conversations"][1]["value"] = "4"
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    line = flags(answer_format=TOOL_CALL, data_file_paths=tmp_path / "rows.jsonl", reward_method="default")
    assert main(line) == 2
    assert "rows.jsonl:1: --answer_format tool_call: no action that a tool call says: 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_generations": 3}, "4 completions, not divisible by --num_generations 3"),
        ({"image_folders": "nowhere"}, "nowhere: no such image folder (--image_folders)"),
        ({"max_prompt_length": 60}, "302 of 302 prompts are longer than --max_prompt_length 60"),
        ({"reward_funcs": "acuracy"}, "--reward_funcs acuracy: unknown"),
        ({"reward_method": "gui"}, "train.jsonl:1: unknown reward method 'gui'"),
        ({"model_name_or_path": "no/such"}, "--model_name_or_path no/such"),
        ({"model_name_or_path": None}, "--model_name_or_path is missing"),
        ({"model_init_kwargs": "fast"}, "--model_init_kwargs fast: not a JSON object"),
        ({"data_file_paths": None}, "--data_file_paths is missing"),
        ({"cast_lm_head_to_fp32": "true"}, "--cast_lm_head_to_fp32 true: TRL cannot where the output layer is"),
        ({"label_smoothing_factor": 0.1}, "--label_smoothing_factor 0.1: not in BACKEND=trl: GRPO has no labels"),
        (
            {"eval_strategy": "epoch", "eval_data_file_paths": "a.jsonl", "val_split_ratio": 0.1},
            "--eval_data_file_paths and --val_split_ratio: choose one",
        ),
    ],
)
def test_impossible_settings_are_refused(changed, message, flags, capsys):
    """Before a model loads, in one line."""
    assert main(flags(**changed)) == 2
    told = capsys.readouterr().err
    assert "Loading weights" not in told
    (last,) = [line for line in told.splitlines() if line.startswith("train: ")]
    assert message in last


def test_no_group_size_is_refused():
    """As `num_generations: null` in a --config file gives it."""
    with pytest.raises(SettingError, match="--num_generations None: a group needs at least 2 completions"):
        TrainArguments(num_generations=None)


def test_trains_logs_and_saves_what_serving_needs(flags, tmp_path):
    line = flags(
        report_to="tensorboard", save_strategy="no", max_steps=2, freeze_vision_modules="true", beta=0.04,
        log_completions="true",
    )  # fmt: skip
    before = AutoModelForImageTextToText.from_pretrained(line[1]).state_dict()
    trainer = train(line)
    run = tmp_path / "run"
    log = json.loads((run / "trainer_state.json").read_text())["log_history"]
    assert all(key in log[0] for key in ("reward", "kl", "rewards/accuracy_reward/mean", "rewards/format_reward/mean"))
    table = pd.read_parquet(run / "completions" / "completions_00001.parquet")
    assert len(table) == 4
    assert {"prompt", "completion", "accuracy_reward", "format_reward", "advantage"} <= set(table.columns)
    assert list(run.rglob("events.out.tfevents.*"))
    # Reloaded as saved: the weights changed, the frozen vision tower did not, the processor has the run's limits.
    after = AutoModelForImageTextToText.from_pretrained(run).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if "visual" in name]
    assert load_processor(str(run)).image_processor.size["longest_edge"] == 84 * 112
    style = read_style(run)
    assert (style.space.name, style.space.max_pixels) == ("resized", 84 * 112)  # Qwen2.5-VL's own
    assert style.template == load_template("zh")  # the rows' own
    assert trainer.state.global_step == 2


def test_resume_goes_on_from_the_checkpoints_weights(flags, tmp_path, copy_of):
    whole = train(flags(save_steps=2, output_dir=tmp_path / "whole"))
    first = copy_of(tmp_path / "whole" / "checkpoint-2", "half/checkpoint-2").parent
    second = train(flags(save_steps=2, output_dir=first))
    losses = [
        [entry["loss"] for entry in trainer.state.log_history if "loss" in entry and entry["step"] > 2]
        for trainer in (whole, second)
    ]
    assert len(losses[0]) == 2
    assert all(losses[0])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    expected, actual = whole.model.state_dict(), second.model.state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, msg=name)


def test_resume_goes_on_with_the_synced_reference(flags, tmp_path, copy_of):
    settings = {"save_steps": 2, "beta": 0.04, "sync_ref_model": "true", "ref_model_sync_steps": 1}
    whole = train(flags(output_dir=tmp_path / "whole", **settings))
    first = copy_of(tmp_path / "whole" / "checkpoint-2", "half/checkpoint-2").parent
    second = train(flags(output_dir=first, **settings))
    base = AutoModelForImageTextToText.from_pretrained(whole.model.name_or_path)
    for (name, expected), actual, untouched in zip(
        whole.ref_model.named_parameters(), second.ref_model.parameters(), base.parameters(), strict=True
    ):
        torch.testing.assert_close(actual, expected, msg=name)
        if "language_model" in name and expected.ndim > 1:
            assert not torch.equal(actual, untouched), name
    (first / "checkpoint-4" / "reference.pt").unlink()
    with pytest.raises(SettingError, match=r"reference\.pt is not there"):
        train(flags(output_dir=first, max_steps=6, resume_changed="true", **settings))


def test_a_run_starts_from_a_checkpoint_elsewhere_and_goes_on_from_its_own(flags, tmp_path, capfd):
    settings = {"save_steps": 2, "beta": 0.04, "sync_ref_model": "true", "ref_model_sync_steps": 1}
    whole = train(flags(output_dir=tmp_path / "whole", **settings))
    start = tmp_path / "whole" / "checkpoint-2"
    for steps in (4, 6):  # the second time the run has a checkpoint of its own
        second = train(
            flags(
                output_dir=tmp_path / "own",
                max_steps=steps,
                resume_changed="true",
                resume_from_checkpoint=start,
                **settings,
            )
        )
    first, again = (line for line in capfd.readouterr().err.splitlines() if line.startswith("resuming from "))
    assert first == f"resuming from {start}"
    assert again == f"resuming from {tmp_path / 'own' / 'checkpoint-4'}"
    losses = [
        [entry["loss"] for entry in run.state.log_history if "loss" in entry and 2 < entry["step"] <= 3]
        for run in (whole, second)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_an_adapter_is_resumed(flags, tmp_path, copy_of):
    settings = {"save_steps": 2, "use_peft": "true", "lora_r": 4, "lora_target_modules": "all-linear", "beta": 0.04}
    whole = train(flags(output_dir=tmp_path / "whole", **settings))
    first = copy_of(tmp_path / "whole" / "checkpoint-2", "half/checkpoint-2").parent
    second = train(flags(output_dir=first, **settings))
    expected, actual = (
        {name: tensor for name, tensor in run.model.state_dict().items() if "lora" in name} for run in (whole, second)
    )
    assert any(tensor.any() for name, tensor in expected.items() if "lora_B" in name)  # it learned something
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, msg=name)
    losses = [[e["loss"] for e in run.state.log_history if "loss" in e and e["step"] > 2] for run in (whole, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_two_ranks(flags, tmp_path):
    line = flags(max_steps=1, reward_funcs=["accuracy", "format"])
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2", "--rdzv_backend", "c10d"]
    done = subprocess.run(
        [*torchrun, "--rdzv_endpoint", "127.0.0.1:0", "-m", "overlay.backends.trl.train", *line],
        capture_output=True, text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, cwd=Path(__file__).parents[2], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    log = json.loads((tmp_path / "run" / "trainer_state.json").read_text())["log_history"]
    assert log[0]["rewards/format_reward/mean"] >= 0
    assert len(rollouts.read(tmp_path / "run")) == 8  # both ranks' completions


def test_prompt_lengths_are_what_the_processor_makes(tiny_model_dir, demo_rows, tmp_path):
    from overlay.data.dataset import load_dataset
    from overlay.data.examples import as_examples
    from overlay.prompt.style import PromptStyle

    rows = load_dataset(str(demo_rows), str(TASKS / "train"), cache_dir=tmp_path).select([0, 1, 50, 300])
    for max_pixels in (84 * 112, 336 * 448):
        processor = load_processor(str(tiny_model_dir), max_pixels=max_pixels)
        lengths = []
        for example in as_examples(rows, PromptStyle()):
            text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
            lengths.append(len(processor(text=text, images=example["images"])["input_ids"][0]))
        assert prompt_lengths(rows, PromptStyle(), processor) == lengths


@pytest.mark.parametrize("targets", [None, "all-linear", ["q_proj", "gate_proj"]])
def test_an_adapter_leaves_a_frozen_tower_alone(targets, flags):
    """Also after the reference pass, which takes the adapter off and puts it on again."""
    trainer = train(flags(
        max_steps=2, use_peft="true", lora_r=4, lora_target_modules=targets, beta=0.04, save_strategy="no",
        freeze_vision_modules="true", reward_funcs=["spread"],
    ))  # fmt: skip
    learning = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora" in name and "language_model" in name for name in learning)
    assert not [name for name, _ in trainer.model.named_parameters() if "lora" in name and "visual" in name]


def test_named_targets_reach_a_tower_that_learns(flags):
    trainer = train(flags(
        max_steps=1, use_peft="true", lora_r=4, lora_target_modules=["gate_proj"], save_strategy="no",
    ))  # fmt: skip
    assert [name for name, p in trainer.model.named_parameters() if "visual" in name and p.requires_grad]


def test_rows_with_and_without_images_train_and_are_evaluated_together(flags, mixed_rows):
    trainer = train(flags(
        data_file_paths=mixed_rows, max_steps=8, save_strategy="no", beta=0.04, reward_funcs=["spread"],
        per_device_train_batch_size=2, gradient_accumulation_steps=2, val_split_ratio=0.2, eval_strategy="steps",
        eval_steps=4, per_device_eval_batch_size=4,
    ))  # fmt: skip
    assert all(math.isfinite(e["loss"]) for e in trainer.state.log_history if "loss" in e)
    assert [e["step"] for e in trainer.state.log_history if "eval_reward" in e] == [4, 8]
    records = rollouts.read(trainer.args.output_dir)
    assert {len(record["image_path"]) for record in records} == {0, 1, 2}
