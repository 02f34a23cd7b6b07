"""Training rows by their difficulty: which are kept, what is said of it, and what is refused."""

import json
from argparse import Namespace

import pytest

from overlay.data.dataset import load_dataset
from overlay.data.difficulty import within
from overlay.data.splits import prepare
from overlay.errors import DataError, SettingError
from overlay.prompt.style import PromptStyle
from overlay.settings import DataArguments

SHARES = [0.0, 0.1, 0.25, 0.5, 0.9, 1.0, None]


def row(number, **more):
    turns = [{"from": "human", "value": f"{number}?"}, {"from": "gpt", "value": str(number)}]
    return {"id": number, "conversations": turns, **more}


def write(file, shares):
    rows = [row(n, **({} if share is None else {"difficulty": share})) for n, share in enumerate(shares)]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return file


def kept(file, wanted):
    return list(within(load_dataset(str(file), str(file.parent), cache_dir=file.parent / "cache"), wanted)["solution"])


def test_the_range_holds_its_ends_and_says_what_it_left(tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", SHARES)
    assert kept(file, "0.1:0.9") == ["1", "2", "3", "4"]
    assert capsys.readouterr().err.endswith(
        "--difficulty 0.1:0.9: 4 of 7 training rows are left (1 below, 1 above, 1 without a difficulty)\n"
    )
    assert kept(file, "0:1") == ["0", "1", "2", "3", "4", "5"]
    assert kept(file, "0.5:0.5") == ["3"]


def test_what_leaves_nothing_is_refused(tmp_path):
    file = write(tmp_path / "rows.jsonl", SHARES)
    with pytest.raises(DataError, match=r"--difficulty 0.6:0.8: none of 7 rows is left \(4 below, 2 above"):
        kept(file, "0.6:0.8")
    with pytest.raises(DataError, match=r"--difficulty 0.1:0.9: no row has a difficulty: make difficulty MODEL="):
        kept(write(tmp_path / "bare.jsonl", [None, None]), "0.1:0.9")


@pytest.mark.parametrize("value", ["", "0.5", "0.9:0.1", "-1:1", "0:2", "a:b", "0.1:0.5:0.9", "nan:1"])
def test_what_is_no_range_is_refused(value):
    with pytest.raises(SettingError, match=r"--difficulty .*: give LOW:HIGH, two shares between 0 and 1"):
        DataArguments(data_file_paths="a", image_folders="b", difficulty=value)


@pytest.mark.parametrize("value", ["often", -0.1, 1.5, True, []])
def test_a_row_whose_difficulty_is_none_is_named(tmp_path, value):
    write(tmp_path / "rows.jsonl", [0.5, value])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: 'difficulty' is no share between 0 and 1"):
        kept(tmp_path / "rows.jsonl", "0:1")


def test_held_out_rows_stay_as_they_are(tmp_path):
    """A filter for training says nothing about what is measured."""
    write(tmp_path / "rows.jsonl", [0.0, 0.5] * 20)
    args = DataArguments(
        data_file_paths=str(tmp_path / "rows.jsonl"), image_folders=str(tmp_path), val_split_ratio=0.5,
        difficulty="0.1:0.9", arrow_cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    training = Namespace(
        eval_strategy="steps", max_prompt_length=None, seed=1, process_index=0, per_device_train_batch_size=1,
        world_size=1, gradient_accumulation_steps=1, num_generations=1,
    )  # fmt: skip
    splits = prepare(args, training, PromptStyle(), lambda: None, None)
    assert {int(text) % 2 for text in splits.train["solution"]} == {1}
    assert {int(text) % 2 for text in splits.held_out["solution"]} == {0, 1}
    assert len(splits.held_out) == 20
