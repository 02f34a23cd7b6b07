"""Each model family walks the whole way: lengths, training in both backends, resume, answers; tiny models from configs.

The whole way, through the commands, is tests/long/test_families.py; docs/families.md has what it found.
"""

import json

import pytest
import torch
from PIL import Image
from trl import TrlParser

import tools.families
from data_prep import check
from overlay.action.space import Space
from overlay.backends.sft.arguments import ARGUMENTS as SFT
from overlay.backends.sft.train import train as sft
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples
from overlay.data.lengths import image_tokens, prompt_lengths
from overlay.model.processor import load_processor
from overlay.model.vision import VISION, keep_in_step
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style
from overlay.rewards import REWARDS
from overlay.serve import local
from tests import families
from tests.stock import TASKS

pytestmark = pytest.mark.integration
SPACES = {"qwen2_vl": "norm1000", "qwen2_5_vl": "resized"}


def letters(completions, **columns):
    return [sum(map(ord, completion[0]["content"])) % 97 / 97 for completion in completions]


@pytest.fixture(scope="module", params=families.PARTS)
def family(request, demo_rows, tmp_path_factory):
    """(name, folder) of a family's tiny model."""
    texts = [turn["value"] for line in demo_rows.open() for turn in json.loads(line)["conversations"]]
    return request.param, families.write(request.param, tmp_path_factory.mktemp(request.param), texts)


def test_lengths_and_boxes_are_the_processors(family, mixed_rows, tmp_path):
    name, folder = family
    processor = load_processor(str(folder), max_pixels=200 * 200)
    cell = families.CELLS[name]
    for size in ((1080, 2400), (1368, 2706), (300, 90), (64, 64), (33, 41)):
        image = Image.new("RGB", size)
        grid = processor.image_processor(images=image, return_tensors="pt")["image_grid_thw"][0]
        assert image_tokens(*size, processor) == grid.prod() // 4
    rows = load_dataset(str(mixed_rows), str(TASKS / "train"), "gui_action", tmp_path)
    examples = as_examples(rows.select(range(6)), PromptStyle())
    lengths = prompt_lengths(rows.select(range(6)), PromptStyle(), processor)
    for example, length in zip(examples, lengths, strict=True):
        text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
        made = processor(text=[text], images=example["images"] or None, return_tensors="pt")
        assert made["input_ids"].shape[1] == length
    assert cell == processor.image_processor.patch_size * processor.image_processor.merge_size


def test_data_check_counts_the_tokens_of_training(family, mixed_rows, tmp_path, capsys):
    """Of the prompts that a run has: with the sentence on coordinates, where its space has one."""
    name, folder = family
    line = [str(mixed_rows), "--images", str(TASKS / "train"), "--processor", str(folder), "--max-pixels", "40000"]
    assert check.main(line) == 0
    told = json.loads(capsys.readouterr().out.split("prompt tokens: ")[1].splitlines()[0])
    processor = load_processor(str(folder), max_pixels=40_000)
    rows = load_dataset(str(mixed_rows), str(TASKS / "train"), "gui_action", tmp_path)
    lengths = []
    for example in as_examples(rows, PromptStyle(space=Space(SPACES.get(name, "norm1000")))):
        text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
        made = processor(text=[text], images=example["images"] or None, return_tensors="pt")
        lengths.append(made["input_ids"].shape[1])
    assert (told["p0"], told["p100"]) == (min(lengths), max(lengths))
    assert min(lengths) < max(lengths)


def test_trl_trains_resumes_and_answers(family, flags, mixed_rows, tmp_path, monkeypatch, capfd):
    name, folder = family
    monkeypatch.setitem(REWARDS, "letters", letters)

    def run(steps):
        return train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(
            model_name_or_path=folder, data_file_paths=mixed_rows, reward_funcs="letters", max_steps=steps, beta=0.1,
            save_steps=1, save_strategy="steps", lr_scheduler_type="constant", resume_changed="true",
        )))  # fmt: skip

    run(1)
    trainer = run(2)
    assert trainer.state.global_step == 2
    assert [entry for entry in trainer.state.log_history if entry.get("grad_norm", 0) > 0]
    style = read_style(tmp_path / "run")
    assert (style.space.cell, style.space.name) == (families.CELLS[name], SPACES.get(name, "norm1000"))
    assert (trainer.shared.refused is None) == (name in families.FAMILIES)
    line = [str(tmp_path / "run"), "--data", str(mixed_rows), "--images", str(TASKS / "train"), "--index", "0", "2"]
    assert local.main([*line, "--max_tokens", "3"]) == 0
    assert f"coordinates {style.space.name}" in capfd.readouterr().err


def test_vlm_r1_trains(family, vlm_r1_trainer):
    _, folder = family
    trainer = vlm_r1_trainer(
        [letters], first=8, model_dir=folder, max_steps=2, beta=0.1, learning_rate=1e-3, num_iterations=2,
        save_strategy="no",
    )  # fmt: skip
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    assert trainer.state.global_step == 2
    assert any(not torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_supervised_training_has_one_loss_however_it_is_computed(family, flags, mixed_rows, tmp_path):
    """Packed where the family can be, padded otherwise, against each row in a pass of its own."""
    _, folder = family
    found = []
    for batch, accumulated, shared in ((3, 1, "true"), (1, 3, "false")):
        line = flags(
            model_name_or_path=folder, data_file_paths=mixed_rows, max_steps=1, reward_funcs=None, reward_method=None,
            num_generations=None, max_completion_length=None, per_device_train_batch_size=batch, dtype="float32",
            gradient_accumulation_steps=accumulated, share_prompts=shared, output_dir=tmp_path / shared,
            save_strategy="no",
        )  # fmt: skip
        trainer = sft(*TrlParser(SFT).parse_args_and_config(args=line))
        found.append(next((e["loss"], e["grad_norm"]) for e in trainer.state.log_history if "loss" in e))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_the_table_has_every_family():
    """docs/families.md: a row for each, a cell for each step, none failed."""
    found = tools.families.DOCS.read_text(encoding="utf-8").partition(tools.families.BEGIN)[2]
    lines = found.partition(tools.families.END)[0].strip().splitlines()
    head, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    assert head == ["`model_type`", *tools.families.COLUMNS]
    assert [row[0].strip("`") for row in rows] == sorted(families.PARTS)
    assert all(len(row) == len(head) and all(row) and tools.families.FAILED not in row for row in rows)


def test_every_part_of_the_tower_is_in_a_pass_without_images(family):
    """DeepStack's mergers too: a rank whose rows have no image has the gradients of one whose rows have."""
    name, _ = family
    model = families.make(name)
    keep_in_step(model)
    ids = torch.tensor([[9, 10, 11]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert not [n for n, p in model.named_parameters() if VISION in n and p.grad is None]
