"""`make sft`: what is imitated, how it is weighted, that it learns, goes on, and that GRPO goes on from it."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from trl import TrlParser

from overlay.action.action import described, parse_action
from overlay.action.completion import TOOL_CALL
from overlay.action.space import Space
from overlay.backends.sft.arguments import ARGUMENTS, SftArguments
from overlay.backends.sft.collator import Collator, is_direct
from overlay.backends.sft.train import main, train
from overlay.backends.trl.arguments import ARGUMENTS as GRPO
from overlay.backends.trl.train import train as train_with_grpo
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_rows
from overlay.errors import SettingError
from overlay.metrics.flags import succeeds
from overlay.metrics.rules.step import screen_of
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style
from overlay.rewards.format import score_format
from overlay.training import log_file
from tests.stock import ROOT, TASKS, ZERO3

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rows_file(demo_rows, tmp_path_factory):
    """Twelve rows: with two images, one and none, every third without thinking, one with it in its answer."""
    out = tmp_path_factory.mktemp("sft") / "rows.jsonl"
    lines = [json.loads(line) for line in demo_rows.open(encoding="utf-8")]
    two, one = (iter([row for row in lines if len(row["image"]) == count]) for count in (2, 1))
    with open(out, "w", encoding="utf-8") as file:
        for number in range(12):
            row = next(two if number % 3 == 0 else one)
            if number % 3 == 2:
                row["conversations"][0]["value"] = row["conversations"][0]["value"].replace("<image>", "")
                row["image"] = []
            elif number == 1:
                answer = row["conversations"][1]["value"]
                row["conversations"][1]["value"] = f"<think>in the answer</think>{answer}"
            else:
                row["thinking"] = f"step {number} of 12"
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return out


@pytest.fixture
def line(tiny_model_dir, rows_file, tmp_path):
    """Function: a small run's command line, changed by keywords."""

    def make(**changed):
        values = {
            "model_name_or_path": tiny_model_dir, "data_file_paths": rows_file, "image_folders": TASKS / "train",
            "arrow_cache_dir": tmp_path / "arrow", "task_type": "gui", "max_pixels": 84 * 112,
            "output_dir": tmp_path / "run", "per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3,
            "lr_scheduler_type": "constant", "logging_steps": 1, "save_strategy": "no", "report_to": "none",
            "use_cpu": "true", "bf16": "false", "adam_epsilon": 1e-5, "seed": 3, "dtype": "float32",
        } | changed  # fmt: skip
        return [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]

    return make


@pytest.fixture
def run(line):
    """Function (**settings) → trainer after its run."""
    return lambda **settings: train(*TrlParser(ARGUMENTS).parse_args_and_config(args=line(**settings)))


def apart(first, second):
    return max((tensor - second[name]).abs().max().item() for name, tensor in first.items())


def losses(folder):
    return [entry["loss"] for entry in log_file.read(folder) if "loss" in entry]


@pytest.fixture
def rows(rows_file, tmp_path):
    style = PromptStyle(space=Space("original", 784, 84 * 112))
    return list(as_rows(load_dataset(str(rows_file), str(TASKS / "train"), cache_dir=tmp_path / "arrow"), style))


def test_the_mask_holds_the_completion_and_nothing_else(rows, tiny_model_dir):
    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    batch = Collator(processor, answer_weight=3.0)(rows[:4])
    width = batch["weights"].size(1)
    for number, row in enumerate(rows[:4]):
        own, weights = batch["input_ids"][number, -width:], batch["weights"][number]
        thinking = f"<think>{row['thinking']}</think>" if row["thinking"] else ""
        written = processor.tokenizer.decode(own[weights > 0])
        assert written == f"{thinking}<answer>{row['solution']}</answer>{processor.tokenizer.eos_token}"
        answer = processor.tokenizer.decode(own[weights == 3])
        assert answer.endswith(f"<answer>{row['solution']}</answer>{processor.tokenizer.eos_token}")
        reasoned = processor.tokenizer.decode(own[weights == 1])
        assert reasoned + answer == written
        assert len(thinking) - len(reasoned) in (0, len("</think>"))  # one token may stand over the border
        assert torch.equal(batch["attention_mask"][number, -width:], (weights > 0).long())
        prompt = batch["input_ids"][number, :-width][batch["attention_mask"][number, :-width] > 0]
        # What GRPO shows, token for token; a row without thinking is not asked for it.
        style = PromptStyle(space=Space("original", 784, 84 * 112), thinking=bool(row["thinking"]))
        shown = style.messages(row["problem"], len(row["image_path"]))
        assert (shown == row["prompt"]) == bool(row["thinking"])
        asked = processor.apply_chat_template(shown, tokenize=False, add_generation_prompt=True)
        assert ("<think>" in asked) == bool(row["thinking"])
        images = list(row["images"])
        alone = processor(text=[asked], images=images or None, return_tensors="pt")["input_ids"][0]
        assert torch.equal(prompt, alone)
    assert [row["thinking"] for row in rows[:4]] == ["step 0 of 12", "in the answer", "", "step 3 of 12"]


def test_a_tool_call_is_imitated_where_prompts_ask_for_one(rows_file, tiny_model_dir, tmp_path):
    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    style = PromptStyle(space=Space("norm1000", 784, 84 * 112), answer_format=TOOL_CALL)
    data = load_dataset(str(rows_file), str(TASKS / "train"), cache_dir=tmp_path / "arrow")
    collator = Collator(processor, style=style)
    for row in as_rows(data, style):
        written = processor.tokenizer.decode(collator.tokens(row)[0][:-1])
        assert ("<tools>" in str(collator.prompt(row)), "<answer>" in str(collator.prompt(row))) == (True, False)
        assert score_format(written, thinking=False, answer_format=TOOL_CALL) >= 2  # a whole call, thinking or not
        assert succeeds(parse_action(written, TOOL_CALL), parse_action(row["solution"]), screen_of(row))
        assert described(written, None, TOOL_CALL) == json.loads(row["solution"])["action_description"]


def test_a_share_of_the_rows_is_answered_without_thinking():
    made = [{"thinking": "so", "problem": str(n), "solution": "1"} for n in range(2000)]
    for share in (0.0, 0.3, 1.0):
        assert sum(is_direct(row, share, 1) for row in made) == pytest.approx(share * 2000, abs=70)
    assert [is_direct(row, 0.3, 1) for row in made] != [is_direct(row, 0.3, 2) for row in made]
    assert is_direct({"thinking": "", "problem": "1", "solution": "1"}, 0.0, 1)


@pytest.mark.parametrize("settings", [{"direct_share": 1}, {"thinking": "false"}, {}], ids=["share", "flag", "rows"])
def test_a_model_that_never_saw_thinking_is_kept_as_one_without(settings, run, rows_file, tmp_path, capsys):
    if not settings:
        made, rows = rows_file.read_text(encoding="utf-8").splitlines(), tmp_path / "rows.jsonl"
        plain = [json.loads(text) | {"thinking": ""} for text in made if "in the answer" not in text]
        rows.write_text("".join(json.dumps(row) + "\n" for row in plain), encoding="utf-8")
        settings = {"data_file_paths": rows}
    trainer = run(max_steps=1, **settings)
    style = read_style(tmp_path / "run")
    assert style is not None
    assert (style.thinking, trainer.style.thinking) == (False, False)
    collator, row = trainer.data_collator, trainer.train_dataset[0]
    asked = "".join(part.get("text", "") for part in collator.prompt(row)[0]["content"])
    assert "<think>" not in asked
    assert "<think>" not in collator.tokenizer.decode(collator.tokens(row)[0])
    assert ("no row is answered with thinking" in capsys.readouterr().err) == ("thinking" not in settings)


def test_earlier_screens_are_shown(run, demo_rows, tmp_path):
    trainer = run(max_steps=1, history_screens=3, data_file_paths=demo_rows)  # all answered without thinking
    assert read_style(tmp_path / "run").history_screens == 3
    rows = [row for row in trainer.train_dataset.select(range(12)) if len(row["image_path"]) > 3]
    batch = trainer.data_collator(rows[:2])
    assert len(batch["image_grid_thw"]) == sum(len(row["image_path"]) for row in rows[:2])
    assert losses(tmp_path / "run")


def by_hand(model, batch, weights):
    """Sum of weighted token losses of a batch, by a plain pass over padded rows."""
    beside = ("weights", "rows", "labels")
    logits = model(**{name: value for name, value in batch.items() if name not in beside}).logits
    width = weights.size(1)
    ids = batch["input_ids"][:, -width:]
    log_probs = logits[:, -width - 1 : -1].log_softmax(-1).gather(2, ids[..., None])[..., 0]
    return -(log_probs * weights).sum(1)


def test_loss_and_step_are_those_by_hand(run, rows, tiny_model_dir, tmp_path):
    """Accumulated batches of different lengths, answers weighted: one mean over all tokens. SGD shows the gradient."""
    trainer = run(
        max_steps=1, gradient_accumulation_steps=3, answer_weight=2.5, direct_share=0.4, optim="sgd",
        learning_rate=0.1, max_grad_norm=0,
    )  # fmt: skip
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    collator = Collator(processor, 2.5, 0.4, seed=3)
    every = [trainer.train_dataset[n] for n in range(12)]
    batches = [collator([row]) for row in every]
    total = sum(batch["weights"].sum() for batch in batches)
    assert {batch["weights"].numel() for batch in batches} != {batches[0]["weights"].numel()}
    loss = sum(by_hand(model, batch, batch["weights"]).sum() for batch in batches) / total
    loss.backward()
    assert losses(tmp_path / "run")[0] == pytest.approx(loss.item(), abs=1e-5)
    expected = {name: p.detach() - 0.1 * p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = dict(trainer.model.named_parameters())
    assert apart(expected, {name: tensor.detach() for name, tensor in found.items()}) < 1e-6
    assert apart({name: before[name] for name in expected}, expected) > 1e-3


@pytest.mark.parametrize("settings", [{"tokens_per_pass": 400}, {"share_prompts": "false"}], ids=["parts", "padded"])
def test_every_way_to_compute_it_makes_the_same_weights(settings, run, tmp_path):
    plain = run(output_dir=tmp_path / "plain", max_steps=2, gradient_accumulation_steps=2)
    other = run(output_dir=tmp_path / "other", max_steps=2, gradient_accumulation_steps=2, **settings)
    assert apart(plain.model.state_dict(), other.model.state_dict()) < 1e-6
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "other"), abs=1e-5)


def test_it_learns_goes_on_the_same_and_grpo_goes_on_from_it(run, flags, rows_file, tmp_path):
    """Three runs of one: whole, stopped half way, and GRPO from its output."""
    settings = {
        "max_steps": 24, "save_strategy": "steps", "save_steps": 11, "learning_rate": 3e-3, "eval_strategy": "steps",
        "eval_steps": 12, "eval_data_file_paths": rows_file, "per_device_eval_batch_size": 5,
        "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2,
    }  # fmt: skip
    whole = run(**settings, output_dir=tmp_path / "whole")
    loss = losses(tmp_path / "whole")
    assert loss[-1] < loss[0] / 2
    held = [entry["eval_loss"] for entry in log_file.read(tmp_path / "whole") if "eval_loss" in entry]
    assert len(held) == 2
    assert held[1] < held[0] * 0.7
    shutil.copytree(tmp_path / "whole" / "checkpoint-11", tmp_path / "half" / "checkpoint-11")
    half = run(**settings, output_dir=tmp_path / "half")
    assert apart(whole.model.state_dict(), half.model.state_dict()) < 1e-6
    assert losses(tmp_path / "half")[-13:] == pytest.approx(loss[-13:], abs=1e-6)
    style = read_style(tmp_path / "whole")
    assert style is not None
    assert style == read_style(tmp_path / "whole" / "checkpoint-22")
    grpo = flags(model_name_or_path=tmp_path / "whole", max_steps=1, num_generations=4)
    trainer = train_with_grpo(*TrlParser(GRPO).parse_args_and_config(args=grpo))
    assert trainer.style == style
    after = load_file(tmp_path / "whole" / "model.safetensors")
    assert math.isfinite(trainer.state.log_history[0]["loss"])
    assert len(after) > 10


def test_held_out_loss_does_not_depend_on_the_batch(run, rows_file, tmp_path):
    for size in (1, 5):
        run(
            output_dir=tmp_path / str(size), max_steps=1, eval_strategy="steps", eval_steps=1,
            eval_data_file_paths=rows_file, per_device_eval_batch_size=size,
        )  # fmt: skip
    one, five = (
        next(e["eval_loss"] for e in log_file.read(tmp_path / str(size)) if "eval_loss" in e) for size in (1, 5)
    )
    assert one == pytest.approx(five, abs=1e-5)


def test_a_frozen_tower_and_an_adapter(run, tmp_path, tiny_model_dir):
    before = AutoModelForImageTextToText.from_pretrained(tiny_model_dir).state_dict()
    frozen = run(output_dir=tmp_path / "frozen", freeze_vision_modules="true", max_steps=2).model.state_dict()
    moved = {name for name, tensor in frozen.items() if not torch.equal(tensor, before[name])}
    assert moved
    assert not [name for name in moved if ".visual." in name or name.startswith("visual.")]
    run(output_dir=tmp_path / "lora", use_peft="true", lora_r=4, learning_rate=1e-2, max_steps=2,
        gradient_checkpointing="true")  # fmt: skip
    adapter = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 1e-3 for name, tensor in adapter.items() if "lora_B" in name)
    assert not [name for name in adapter if ".visual." in name]
    assert read_style(tmp_path / "lora") is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"answer_weight": 0}, "--answer_weight"), ({"direct_share": 2}, "--direct_share"),
     ({"reward_method": "gui_action"}, "it asks no reward"), ({"data_file_paths": "gone.jsonl"}, "gone.jsonl")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(settings, said, line, capsys):
    assert main(line(**settings)) == 2
    err = [text for text in capsys.readouterr().err.splitlines() if text.startswith("sft: ")]
    assert len(err) == 1
    assert said in err[0]


def test_the_settings_are_checked(tmp_path):
    with pytest.raises(SettingError, match="--tokens_per_pass -1"):
        SftArguments(output_dir=str(tmp_path), tokens_per_pass=-1)


@pytest.mark.slow
@pytest.mark.parametrize("zero3", [False, pytest.param(True, marks=pytest.mark.long)], ids=["ddp", "zero3"])
def test_two_ranks_make_the_weights_of_one(zero3, forks, line, run, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    settings = {"max_steps": 3, "learning_rate": 1e-3, "answer_weight": 2.0, "tokens_per_pass": 300}
    one = run(**settings, output_dir=tmp_path / "one", per_device_train_batch_size=4)
    own = {"output_dir": tmp_path / "two", "per_device_train_batch_size": 2}
    if zero3:
        own |= {"deepspeed": config, "use_cpu": None}
    ended = forks.run(
        ["-m", "overlay.backends.sft.train", *line(**settings | own)], tmp_path / "log", 2,
        variables={"PYTHONPATH": f"{ROOT}/tests/gloo:{ROOT}"},
    )  # fmt: skip
    assert ended.statuses == [0, 0], ended.err[-4000:]
    two = type(one.model).from_pretrained(tmp_path / "two").state_dict()
    difference = apart(one.model.state_dict(), two)
    print(f"\n{'ZeRO-3' if zero3 else 'DDP'}: weights apart by {difference:.1e}")
    assert difference < 1e-6
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), abs=1e-5)
