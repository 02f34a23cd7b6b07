"""`--history_screens`: which earlier screens a row has, and that they come before its own in prompts of every kind."""

import argparse
import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from data_prep import check
from data_prep.convert import convert
from overlay.action.completion import TOOL_CALL
from overlay.action.space import Space
from overlay.data.budget import fit
from overlay.data.dataset import load_dataset
from overlay.data.earlier import earlier_screens
from overlay.data.examples import as_examples
from overlay.data.images import check_image
from overlay.data.lengths import prompt_lengths
from overlay.errors import DataError
from overlay.evaluate.rows import rows_of, step_digest
from overlay.prompt.style import EARLIER, PromptStyle
from overlay.prompt.style_file import read_style, write_style
from overlay.prompt.template import load_template
from overlay.serve.ask import question_of_row
from tests.conftest import step_record, write_step

LAST = 12


@pytest.fixture
def tree(tmp_path):
    """A task of twelve steps with a gap at the sixth, whose screens grow, and one of a single step."""
    root = tmp_path / "tasks"
    (root / "7").mkdir(parents=True)
    (root / "8").mkdir()
    for step in range(1, LAST + 1):
        Image.new("RGB", (112, 112 + 28 * step), (step * 20, 90, 120)).save(root / "7" / f"{step}.png")
        if step != 6:
            record = step_record(first=f"{step - 1}.png" if step > 1 else "", second=f"{step}.png")
            write_step(root / "7", step, record)
    Image.new("RGB", (112, 140)).save(root / "8" / "1.png")
    write_step(root / "8", 1, step_record(second="1.png"))
    return root


@pytest.fixture
def rows(tree, tmp_path):
    convert(tree, tmp_path / "rows.jsonl", load_template("en"), "en")
    return tmp_path / "rows.jsonl"


def read(rows, tree, history, **more):
    return load_dataset(str(rows), str(tree), cache_dir=rows.parent / "arrow", history=history, **more)


def names(paths):
    found = (path["image"] if isinstance(path, dict) else path.partition("#")[0] for path in paths)
    return [int(path.rpartition("/")[2].removesuffix(".png")) for path in found]


def test_rows_say_the_screens_of_earlier_steps(rows, tree):
    told = [json.loads(line) for line in rows.open(encoding="utf-8")]
    assert [names(row.get("earlier", [])) for row in told] == [
        [], [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 5, 7, 8],
        [1, 2, 3, 4, 5, 7, 8, 9], [2, 3, 4, 5, 7, 8, 9, 10], [],
    ]  # fmt: skip
    assert told[2]["earlier"] == [{"image": "7/1.png", "point": [35, 55]}]
    assert told[2]["image"] == ["7/2.png", "7/3.png"]
    assert "earlier" not in told[0]
    assert earlier_screens(tree / "7" / "notes.json", []) == []


@pytest.mark.parametrize("history", [0, 1, 3, 8])
def test_a_prompt_shows_them_before_its_own(rows, tree, history):
    style = PromptStyle(load_template("en"), "en", history_screens=history)
    examples = as_examples(read(rows, tree, history), style)
    for row, example in zip(map(json.loads, rows.open()), examples, strict=True):
        shown = [each["image"] for each in row.get("earlier", [])][-history:] if history else []
        assert names(example["image_path"]) == names(shown + row["image"])
        assert [image.size[1] for image in example["images"]] == [112 + 28 * n for n in names(example["image_path"])]
        parts = example["prompt"][0]["content"]
        assert sum(part["type"] == "image" for part in parts) == len(shown) + len(row["image"])
        kinds = [part["type"] for part in parts]
        assert (parts[0].get("text") == EARLIER["en"]) == bool(shown)
        assert kinds[1 : 1 + len(shown)] == ["image"] * len(shown)
        assert example["screen_size"] == [112, 112 + 28 * names(row["image"])[-1]]  # the current one's


@pytest.fixture
def bare(rows, tmp_path):
    """The file of `rows` without a template: inputs alone."""
    lines = [json.loads(line) for line in rows.open()]
    for turn in (row["conversations"][0] for row in lines):
        turn["value"] = turn["value"][turn["value"].index('{"task_content"') :]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return tmp_path / "bare.jsonl"


def test_rows_without_a_template_and_other_layouts(rows, bare, tree):
    first = PromptStyle(load_template("en"), "en", history_screens=3, answer_format="tool_call", thinking=False)
    for file, style in ((bare, first), (rows, PromptStyle(images_first=True, history_screens=3))):
        for example in as_examples(read(file, tree, 3), style):
            parts = example["prompt"][0]["content"]
            assert sum(part["type"] == "image" for part in parts) == len(example["image_path"])


def test_lengths_and_the_budget_count_them(rows, tree, tiny_model_dir):
    from overlay.model.processor import load_processor

    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    style = PromptStyle(load_template("en"), "en", history_screens=4)
    data = read(rows, tree, 4)
    lengths = prompt_lengths(data, style, processor)
    for example, length in zip(as_examples(data, style), lengths, strict=True):
        text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
        assert processor(text=[text], images=example["images"], return_tensors="pt")["input_ids"].shape[1] == length
    kept = fit(data, style, processor, max(lengths) - 1, "filter")
    assert len(kept) == sum(length < max(lengths) for length in lengths)
    assert len(fit(data, style, processor, max(lengths), "fail")) == len(data)


def test_data_check_counts_as_a_model_was_trained(rows, bare, tree, tiny_model_dir, tmp_path):
    """With its earlier screens, and in its words where rows bring none."""
    from overlay.model.processor import load_processor

    model = shutil.copytree(tiny_model_dir, tmp_path / "model")
    processor = load_processor(str(model))
    size = processor.image_processor.size
    space = Space("resized", size["shortest_edge"], size["longest_edge"], 28)
    style = PromptStyle("Mine: ", "en", space=space, history_screens=3, thinking=False)
    write_style(style, model)
    wanted = prompt_lengths(read(bare, tree, 3), style, processor)
    assert check.token_lengths(bare, tree, str(model), None) == wanted


def test_a_file_that_does_not_say_them_is_refused(rows, tree, tmp_path):
    plain = tmp_path / "plain.jsonl"
    with open(plain, "w") as file:
        for row in map(json.loads, rows.open()):
            turn = row["conversations"][0]
            said = ["点击搜索"] * (len(row.pop("earlier", [])) + len(row["image"]) - 1)
            turn["value"] = turn["value"].replace('["点击搜索"]', json.dumps(said))
            file.write(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"plain.jsonl: no row says its 'earlier' screens, which --history_screens 2"):
        read(plain, tree, 2)
    assert len(read(plain, tree, 0)) == LAST
    steps = [line for line in rows.open() if '"earlier"' not in line]
    plain.write_text("".join(steps))  # the first steps of tasks, as of a benchmark of single ones
    assert [len(row["image"]) for row in read(plain, tree, 2)] == [1, 2, 1]


def test_data_check_reads_them(rows, tree, capsys, monkeypatch):
    assert check.main([str(rows), "--images", str(tree), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "earlier screens per row:\n          3  0" in said
    assert "keys that are not read" not in said
    decoded = []
    monkeypatch.setattr(check, "check_image", lambda path, decode: decoded.append(decode) or check_image(path, decode))
    assert check.main([str(rows), "--images", str(tree), "--workers", "1"]) == 0
    images = sum(len(json.loads(line)["image"]) for line in rows.open())
    assert decoded.count(True) == images < len(decoded)  # a screen is decoded with its own row
    (tree / "7" / "1.png").unlink()
    assert check.main([str(rows), "--images", str(tree), "--workers", "1"]) == 1
    assert "rows.jsonl:12: 7/1.png" not in capsys.readouterr().err
    one = '[{"image": "7/1.png", "point": [35.0, 55.0]}]'
    rows.write_text(rows.read_text().replace(f'"earlier": {one}', '"earlier": "7/1.png"'))
    assert check.main([str(rows), "--images", str(tree), "--workers", "1"]) == 1
    assert "rows.jsonl:3: 'earlier' is no list of paths" in capsys.readouterr().err


def test_data_check_measures_with_them_and_names_rows_that_lack_them(rows, tree, tiny_model_dir, capsys):
    from overlay.model.processor import load_processor

    def told(*flags):
        line = [str(rows), "--images", str(tree), "--workers", "1", "--image-check", "header", *flags]
        assert check.main([*line, "--processor", str(tiny_model_dir), "--max-pixels", "9408"]) == 0
        out = capsys.readouterr().out
        return json.loads(out.partition("prompt tokens: ")[2].splitlines()[0])["p100"], out

    plain, out = told()
    assert "history goes further back" not in out
    processor = load_processor(str(tiny_model_dir), max_pixels=9408)
    english = PromptStyle(language="en", history_screens=3)  # as the rows are
    for style in (english, replace(english, answer_format=TOOL_CALL)):
        longest, _ = told("--history_screens", "3", "--answer_format", style.answer_format)
        assert longest == max(prompt_lengths(read(rows, tree, 3), style, processor)) > plain
    lines = [json.loads(line) for line in rows.open()]
    for number, row in enumerate(lines, 1):
        text = row["conversations"][0]["value"]
        assert '["点击搜索"]' in text or number in (1, 12)
        row["conversations"][0]["value"] = text.replace('["点击搜索"]', json.dumps(["a"] * (number - 1)))
    del lines[4]["earlier"]
    rows.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert "          1  with none, though their history goes further back than their screens: 5\n" in told()[1]


def test_who_asks_later_shows_as_many(rows, tree, tmp_path):
    style = PromptStyle(load_template("en"), "en", history_screens=2)
    write_style(style, tmp_path)
    assert read_style(tmp_path) == style
    kept = json.loads((tmp_path / "prompt_style.json").read_text())
    (tmp_path / "prompt_style.json").write_text(json.dumps({n: kept[n] for n in kept if n != "history_screens"}))
    assert read_style(tmp_path) == PromptStyle(load_template("en"), "en")
    assert question_of_row(rows, 8, 2)[1] == ["7/7.png", "7/8.png", "7/9.png", "7/10.png"]
    args = argparse.Namespace(data=str(rows), images=str(tree), limit=0)
    two, none = rows_of(args, style).rows, rows_of(args, PromptStyle()).rows
    assert [len(row["image_path"]) for row in two] == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 1]
    # Two scores are paired whatever each shows, and an answer belongs to what it was shown.
    assert [row["digest"] for row in two] == [row["digest"] for row in none]
    assert two[5]["content"] != none[5]["content"]
    assert step_digest(next(iter(read(rows, tree, 0)))) == two[0]["digest"]


def test_screens_of_a_page_that_is_played():
    seen, points = list("abcdef"), [(1, 2), None, (-3.4, 4), (5, 6), (7, 8)]
    assert PromptStyle(history_screens=3).earlier(seen, points) == ["b", "c", "d"]
    assert PromptStyle(history_screens=8).earlier(seen[:3], points[:2]) == ["a"]
    assert PromptStyle().earlier(seen, points) == PromptStyle(history_screens=8).earlier(seen[:2], points[:1]) == []
    cut = PromptStyle(history_screens=3, history_crop=0.5).earlier(seen, points)
    assert cut == ["b", "c#crop=0.500000@-3,4", "d#crop=0.500000@5,6"]
