"""Rows bring their language: prompts of a training are those that its model is asked with later."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from data_prep.check import token_lengths
from data_prep.convert import convert
from overlay.data.splits import prepare
from overlay.model.processor import load_processor
from overlay.prompt.style import EARLIER
from overlay.prompt.template import LANGUAGES, load_template
from overlay.prompt.tool_call import tool
from overlay.settings import DataArguments
from overlay.training.style import style_of_run
from tests.conftest import step_record, write_step

TRAINING = {
    "eval_strategy": "no", "max_prompt_length": None, "seed": 0, "process_index": 0, "per_device_train_batch_size": 1,
    "world_size": 1, "gradient_accumulation_steps": 1, "num_generations": 1,
}  # fmt: skip


@pytest.mark.parametrize("task", ["gui", None])
@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_are_in_the_rows_language(language, task, tiny_model_dir, tmp_path):
    """No flag says it: a tool's signature, earlier screens, and how coordinates count."""
    tree, rows = tmp_path / "tasks", tmp_path / "rows.jsonl"
    for step in range(1, 5):
        write_step(tree / "7", step, step_record(first=f"{step - 1}.png" if step > 1 else "", second=f"{step}.png"))
        Image.new("RGB", (112, 112 + 28 * step)).save(tree / "7" / f"{step}.png")
    convert(tree, rows, load_template(language), language)
    data = DataArguments(
        data_file_paths=str(rows), image_folders=str(tree), task_type=task, arrow_cache_dir=str(tmp_path / "arrow"),
        answer_format="tool_call", history_screens=2, coordinate_space="norm1000",
    )  # fmt: skip
    style = style_of_run(data, str(tiny_model_dir))
    splits = prepare(data, SimpleNamespace(**TRAINING), style, lambda: None, None)
    assert splits.style.language == language
    shown = [json.dumps(row["prompt"], ensure_ascii=False) for row in splits.train]
    assert EARLIER[language] in shown[-1]
    assert json.dumps(tool(language), ensure_ascii=False).strip('"') in shown[-1]
    for row in splits.train:
        assert row["prompt"] == splits.style.messages(row["problem"], len(row["image_path"]))


def test_data_check_counts_them_so(tiny_model_dir, tmp_path):
    write_step(tmp_path / "tasks" / "7", 1, step_record(second="1.png"))
    Image.new("RGB", (112, 140)).save(tmp_path / "tasks" / "7" / "1.png")
    convert(tmp_path / "tasks", tmp_path / "rows.jsonl", load_template("en"), "en")
    (model := tmp_path / "model").mkdir()
    for file in tiny_model_dir.iterdir():
        (model / file.name).symlink_to(file)
    config = json.loads((model / "config.json").read_text()) | {"model_type": "qwen2_vl"}  # which counts to 1000
    (model / "config.json").unlink()
    (model / "config.json").write_text(json.dumps(config))
    data = DataArguments(
        data_file_paths=str(tmp_path / "rows.jsonl"), image_folders=str(tmp_path / "tasks"), task_type="gui",
        arrow_cache_dir=str(tmp_path / "arrow"),
    )  # fmt: skip
    splits = prepare(data, SimpleNamespace(**TRAINING), style_of_run(data, str(model)), lambda: None, None)
    assert splits.style.space.name == "norm1000"
    row, processor = splits.train[0], load_processor(str(model))
    text = processor.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    found = token_lengths(tmp_path / "rows.jsonl", tmp_path / "tasks", str(model), None)
    images = [Image.open(path) for path in row["image_path"]]
    assert found == [processor(text=[text], images=images, return_tensors="pt")["input_ids"].shape[1]]
