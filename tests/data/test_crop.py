"""`--history_crop`: the window of an earlier screen that a prompt shows, in pixels, in the rows of every kind."""

import argparse
import json
from io import BytesIO

import pytest
from PIL import Image

from data_prep.convert import convert
from overlay.action.action import Action
from overlay.data.budget import fit
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples, as_rows
from overlay.data.images import open_image, open_images, read_png_or_jpeg, size_of
from overlay.data.lengths import prompt_lengths
from overlay.errors import DataError, SettingError
from overlay.evaluate.identity import screen_digest
from overlay.evaluate.rows import rows_of
from overlay.prompt.crop import cropped, landed
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style, write_style
from overlay.prompt.template import load_template
from overlay.serve.ask import question_of_row
from overlay.serve.client import openai_messages
from overlay.serve.style import style_flags, style_of
from tests.conftest import step_record, write_step

WIDTH, HEIGHT = 120, 200
HALF = PromptStyle(load_template("en"), "en", history_screens=2, history_crop=0.5)
ACTIONS = (
    ("click", "100,180,120,200"), ("swipe", "10,150,60,20"), ("wait", ""), ("click", "50,90,70,110"), ("back", ""),
)  # fmt: skip


@pytest.fixture
def screen(tmp_path):
    """A screen whose every pixel says where it is: red its x, green its y."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([(x, y, 0) for y in range(HEIGHT) for x in range(WIDTH)])
    image.save(tmp_path / "screen.png")
    return str(tmp_path / "screen.png")


@pytest.fixture
def tree(tmp_path, screen):
    """A task of five steps whose actions land in a corner, at an edge, nowhere, in the middle, and nowhere."""
    (tmp_path / "tasks" / "7").mkdir(parents=True)
    for step, (kind, value) in enumerate(ACTIONS, 1):
        Image.open(screen).save(tmp_path / "tasks" / "7" / f"{step}.png")
        record = step_record(first=f"{step - 1}.png" if step > 1 else "", second=f"{step}.png")
        record["output"] |= {"action_type": kind, "action_parameter": {kind: value}}
        write_step(tmp_path / "tasks" / "7", step, record)
    return tmp_path / "tasks"


@pytest.fixture
def rows(tree, tmp_path):
    convert(tree, tmp_path / "rows.jsonl", load_template("en"), "en")
    return tmp_path / "rows.jsonl"


def read(rows, tree, style):
    shown = {"history": style.history_screens, "crop": style.history_crop}
    return load_dataset(str(rows), str(tree), cache_dir=rows.parent / "arrow", **shown)


@pytest.mark.parametrize(
    ("point", "share", "corner", "side"),
    [
        ((60, 100), 0.5, (30, 70), 60),  # the middle
        ((0, 0), 0.5, (0, 0), 60),
        ((119, 0), 0.5, (60, 0), 60),
        ((0, 199), 0.5, (0, 140), 60),
        ((120, 200), 0.5, (60, 140), 60),
        ((-40, 900), 0.5, (0, 140), 60),  # a model may say what is not on the screen
        ((60, 100), 1.0, (0, 40), 120),
        ((60.4, 99.6), 0.05, (57, 97), 6),
    ],
)
def test_the_window_stays_on_the_screen(screen, point, share, corner, side):
    path = cropped(screen, point, share)
    image = open_image(path)
    assert size_of(path) == image.size == (side, side)
    assert image.getpixel((0, 0)) == (*corner, 0)
    assert image.getpixel((side - 1, side - 1)) == (corner[0] + side - 1, corner[1] + side - 1, 0)
    sent = read_png_or_jpeg(path)
    assert Image.open(BytesIO(sent.data)).convert("RGB").tobytes() == image.tobytes()
    assert sent.size == image.size


def test_what_is_whole(screen, tmp_path):
    assert cropped(screen, None, 0.5) == cropped(screen, (1, 2), 0.0) == screen
    odd = tmp_path / "a#crop=1.png"  # a name of a user's own
    Image.open(screen).save(odd)
    assert size_of(str(odd)) == open_image(odd).size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match="image not found"):
        open_image(cropped(str(tmp_path / "gone.png"), (1, 2), 0.5))


def test_where_an_action_lands():
    assert landed(Action("click", "10,20,30,60")) == landed(Action("long_click", [20, 40])) == (20, 40)
    assert landed(Action("swipe", "10,150,60,20")) == (10, 150)
    assert landed(Action("type", "10,20")) is landed(Action("click", "?")) is landed(None) is None


def test_rows_say_where_actions_landed(rows):
    told = [json.loads(line).get("earlier", []) for line in rows.open()]
    assert [each["point"] for each in told[4]] == [[110, 190], [10, 150], None]
    assert [each["image"] for each in told[4]] == ["7/1.png", "7/2.png", "7/3.png"]


def test_prompts_show_the_windows(rows, tree, tiny_model_dir):
    from overlay.model.processor import load_processor

    whole, half, none = (60, 60), (WIDTH, HEIGHT), PromptStyle(load_template("en"), "en", history_screens=2)
    wanted = [[half], [half, half], [whole, half, half], [whole, whole, half, half], [whole, half, half, half]]
    data = read(rows, tree, HALF)
    examples = as_examples(data, HALF)
    assert [[image.size for image in example["images"]] for example in examples] == wanted
    assert examples[2]["images"][0].getpixel((0, 0)) == (60, 140, 0)
    assert examples[3]["images"][1].getpixel((0, 0)) == (0, 120, 0)
    for tags in (False, True):  # TRL's and make sft's rows, then VLM-R1's
        shown = [dict(row) for row in as_rows(data, HALF, tags)]
        open_images(shown)
        assert [[image.size for image in row["image"]] for row in shown] == wanted
        assert [row["screen_size"] for row in shown] == [[WIDTH, HEIGHT]] * len(wanted)  # answers are on the last one
    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    lengths = prompt_lengths(data, HALF, processor)
    for example, length in zip(examples, lengths, strict=True):
        text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
        assert processor(text=[text], images=example["images"], return_tensors="pt")["input_ids"].shape[1] == length
    assert sum(lengths) < sum(prompt_lengths(read(rows, tree, none), none, processor))
    assert len(fit(data, HALF, processor, max(lengths), "fail")) == len(wanted)


def test_who_asks_later_shows_the_same(rows, tree, tmp_path):
    write_style(HALF, tmp_path)
    assert read_style(tmp_path) == HALF
    args = argparse.Namespace(data=str(rows), images=str(tree), limit=0)
    scored, trained = rows_of(args, HALF).rows, as_rows(read(rows, tree, HALF), HALF)
    for mine, theirs in zip(scored, trained, strict=True):
        assert (mine["prompt"], mine["image_path"]) == (theirs["prompt"], theirs["image_path"])
    sent = openai_messages(scored[4]["prompt"], scored[4]["image_path"])[0]["content"]
    assert sum(part["type"] == "image_url" for part in sent) == 4
    plain = rows_of(args, PromptStyle(load_template("en"), "en", history_screens=2)).rows
    assert [row["digest"] for row in scored] == [row["digest"] for row in plain]
    assert scored[3]["content"] != plain[3]["content"]
    assert question_of_row(rows, 2, 2, 0.5)[1] == ["7/1.png#crop=0.500000@110,190", "7/2.png", "7/3.png"]
    window, *others = (cropped(str(tree / "7" / "1.png"), (x, 9), 0.5) for x in (50, 50, 51))
    assert [screen_digest(each, "") == screen_digest(window, "") for each in others] == [True, False]


def test_the_flag_goes_before_the_models_own(tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    style_flags(parser)
    write_style(HALF, tmp_path)
    style, told = style_of(parser.parse_args(["--style", str(tmp_path)]))
    assert style == HALF
    assert "up to 2 earlier screens, cropped to 0.5" in told
    style, told = style_of(parser.parse_args(["--style", str(tmp_path), "--history_crop", "0.25"]))
    assert style.history_crop == 0.25
    assert "--history_crop 0.25 in place of 0.5" in told
    with pytest.raises(SettingError, match=r"--history_crop 2: a share from 0\.05 to 1, or 0 for whole screens"):
        style_of(parser.parse_args(["--style", str(tmp_path), "--history_crop", "2"]))


def test_files_of_before_are_read_and_cannot_be_cropped(rows, tree, tmp_path):
    before = tmp_path / "before.jsonl"
    with open(before, "w") as file:
        for row in map(json.loads, rows.open()):
            row["earlier"] = [each["image"] for each in row.get("earlier", [])]
            file.write(json.dumps(row) + "\n")
    whole = PromptStyle(history_screens=2)
    assert [row["image"] for row in read(before, tree, whole)] == [row["image"] for row in read(rows, tree, whole)]
    with pytest.raises(DataError, match=r"before.jsonl: no row says where actions landed .*--history_crop 0.5"):
        read(before, tree, HALF)
    rows.write_text(rows.read_text().replace("[10.0, 150.0]", '"left"'))
    with pytest.raises(DataError, match=r"rows.jsonl:4: 'earlier': a 'point' is not \[x, y\] in pixels, or null"):
        read(rows, tree, whole)
