"""The page of data files: what it counts, what it draws, what it finds in two files."""

import json
import re
import shutil
from argparse import Namespace
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from transformers import Glm4vImageProcessor

from data_prep.convert import convert
from data_prep.preview import __main__ as preview
from data_prep.preview.facts import by_kind, read
from data_prep.preview.page import Shown, histograms
from overlay.action.space import Space
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from overlay.prompt.template import load_template
from tests.conftest import CHROMIUM, needs_chromium
from tests.pages.looks import look


@pytest.fixture
def data(task_tree, tmp_path):
    out = tmp_path / "rows.jsonl"
    convert(task_tree, out, load_template("zh"))
    return out


def run(*arguments):
    return preview.main([*map(str, arguments), "--workers", "1"])


def respell(path, out, spoil):
    """A copy of a data file with its first row changed."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    spoil(rows[0])
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return out


def test_what_two_files_share_is_named(data, task_tree, tmp_path, capsys):
    # The other file: one row as it is, one whose screen is a copy under another name, and one of its rows twice.
    shutil.copy(task_tree / "9" / "9_1.png", task_tree / "10" / "copy.png")
    rows = [json.loads(line) for line in data.open(encoding="utf-8")]
    other = {**rows[0], "image": ["10/copy.png"]}
    held = tmp_path / "held_out.jsonl"
    held.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (rows[1], other, other)))
    out = tmp_path / "page.html"
    assert run(f"{data}:{held}", "--images", task_tree, "--out", out) == 0
    assert capsys.readouterr().out == f"{out}: 7 rows of 2 files, 0 problems\n"
    cells = [part.split("</td>")[0] for part in out.read_text().split('id="shared"')[1].split("<td")]
    cells = [re.sub("<[^>]*>", "", cell.partition(">")[2]) for cell in cells]
    found = {(cells[n], cells[n + 1]): (cells[n + 2], cells[n + 3]) for n in range(1, len(cells) - 3, 4)}
    both = "rows.jsonl and held_out.jsonl"
    assert found["rows: question, screens and gold", both] == ("1", "lines 2 and 1")
    assert found["images of the same bytes in other files", both] == ("1", "lines 1 and 3")
    assert found["image files", both][0] == "1"
    assert found["task texts", both][0] == "1"
    assert found["rows that it has twice", "held_out.jsonl"] == ("1", "line 2, line 3")
    assert found["rows that it has twice", "rows.jsonl"] == ("0", "")


def test_problems_are_counted_by_kind(data, task_tree, tmp_path, capsys):
    gone = [(3, "a/b.png: image not found"), (5, "c/d.png: image not found")]
    kinds = by_kind([*gone, (7, "box '1,2' has x1 >= x2")])
    assert kinds[0] == ("… image not found", 2, [f"line {line}: {reason}" for line, reason in gone])
    assert kinds[1][:2] == ("box … has xn >= xn", 1)
    bad = respell(data, tmp_path / "bad.jsonl", lambda row: row.update(image=["9/<b>none.png"]))
    out = tmp_path / "page.html"
    assert run(bad, "--images", task_tree, "--out", out) == 1
    assert capsys.readouterr().out.endswith("4 rows of 1 files, 1 problems\n")
    text = out.read_text()
    assert "1 problems: training stops at the first" in text
    assert "line 1: 9/&lt;b&gt;none.png: image not found" in text  # as text
    assert text.count("<article") == 3  # the good ones


def test_pixel_limits_are_the_models(tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    write_style(PromptStyle(space=Space("resized", 784, 784 * 12)), folder)
    for given, said, limits in (
        (None, folder, (784, 784 * 12)), (9408, folder, (784, 9408)), (None, tiny_model_dir, (3136, 1_003_520)),
    ):  # fmt: skip
        unsaid = dict.fromkeys(("prompt_template", "answer_format", "history_screens", "history_crop"))
        args = Namespace(processor=str(said), max_pixels=given, **unsaid)
        size = preview.shown_as(args).processor.image_processor.size
        assert (size["shortest_edge"], size["longest_edge"], args.max_pixels) == (*limits, limits[1])


def test_prompts_are_those_of_the_model(data, task_tree, tiny_model_dir, tmp_path):
    out = tmp_path / "page.html"
    assert run(data, "--images", task_tree, "--out", out, "--processor", tiny_model_dir, "--max_pixels", 784 * 12) == 0
    shown = unescape(out.read_text())
    processor = load_processor(str(tiny_model_dir), 3136, 784 * 12)
    row = json.loads(data.open(encoding="utf-8").readlines()[1])  # one screen
    text, rest = row["conversations"][0]["value"].split("<image>")
    content = [{"type": "text", "text": text}, {"type": "image"}, {"type": "text", "text": rest}]
    whole = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    image = Image.open(task_tree / row["image"][0])
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    tokens = processor(text=whole, images=[image])["input_ids"][0].count(pad)
    assert tokens < 24  # the limit holds
    assert whole.replace("<|image_pad|>", f"<|image_pad|> × {tokens}") in shown
    assert "golds as it counts coordinates: resized" in shown
    assert ">tokens, images included</text>" in shown


def test_image_tokens_are_those_of_the_processor(data, task_tree):
    """GLM-4V's takes frames in pairs and resizes otherwise than Qwen-VL's."""
    images = Glm4vImageProcessor(size={"shortest_edge": 3136, "longest_edge": 20_000})
    shown = Shown(PromptStyle(), lambda messages, tokens: "", "", SimpleNamespace(image_processor=images))
    screens = [Image.open(task_tree / "10" / "10_1.png").resize((300, 500)), Image.new("RGB", (700, 300))]
    for screen in screens:
        patches = images(images=[screen], return_tensors="np")["pixel_values"]
        assert shown.tokens(*screen.size) == len(patches) // images.merge_size**2
    files = [read(data, task_tree, 1, False)]
    each = [sum(shown.tokens(*size) for size in row.sizes) for row in files[0].rows]
    assert f"median {np.median(each):,.4g}" in "".join(histograms(files, None, shown))


@pytest.mark.parametrize(
    ("data", "flags", "message"),
    [
        ("none.jsonl", (), "none.jsonl: no such file (DATA=)"),
        ("rows.jsonl", ("--images", "nowhere"), "nowhere: no such folder (IMAGES=)"),
        ("rows.jsonl:rows.jsonl:rows.jsonl", ("--images", ".:."), "3 files in DATA= but 2 folders in IMAGES="),
        ("rows.jsonl", ("--rows", "0"), "--rows 0: a number of at least 1"),
        ("rows.jsonl", ("--max_pixels", "9"), "--max_pixels 9: a number of at least 3136"),
        ("rows.jsonl", ("--processor", "./none"), "./none: no such folder"),
        ("rows.jsonl", ("--prompt_template", "fr"), "prompt template 'fr' is neither"),
        ("rows.jsonl", ("--out", "."), ".: is a folder: give a file"),
    ],
)
def test_refused_in_one_line(data, flags, message, task_tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert(task_tree, tmp_path / "rows.jsonl", "t\n", decode=False)
    capsys.readouterr()
    assert run(data, "--images", task_tree, *flags) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("preview: ")
    assert message in said


@needs_chromium
@pytest.mark.integration
def test_the_page_in_a_browser(data, task_tree, tmp_path):
    def swipe(row):
        said = {"action_type": "swipe", "action_parameter": {"swipe": "5,6,70,80"}}
        row["conversations"][1]["value"] = json.dumps(said)
        row["also"] = [said, {"action_type": "click", "action_parameter": {"click": "7,8,17,28"}}]

    mixed, out = respell(data, tmp_path / "mixed.jsonl", swipe), tmp_path / "page.html"
    assert run(f"{data}:{mixed}", "--images", task_tree, "--out", out, "--rows", 8) == 0
    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 420, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(out.as_uri())
        look(page)
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        shown = lambda: (page.locator("article:visible").count(), page.locator("#count").inner_text())  # noqa: E731
        assert shown() == (8, "8 of 8")
        page.select_option("#type", "swipe")
        assert shown() == (1, "1 of 8")
        assert page.locator("article:visible path.gold").get_attribute("d").startswith("M5 6 L70 80 M")
        right = page.locator("article:visible rect.also")
        assert [right.get_attribute(name) for name in ("x", "y", "width", "height")] == ["7.0", "8.0", "10.0", "20.0"]
        assert "or {" in page.locator("article:visible .gold-text").inner_text()
        page.select_option("#type", "click")
        page.select_option("#file", "rows.jsonl")
        assert shown() == (4, "4 of 8")
        box = page.locator("article:visible rect.gold").first
        assert [box.get_attribute(name) for name in ("x", "y", "width", "height")] == ["10.0", "20.0", "50.0", "70.0"]
        # The box lies on the screen where its pixels are, however wide that is shown.
        image = page.locator("article:visible .holder").first.locator("img").bounding_box()
        drawn = box.bounding_box()
        assert abs((drawn["x"] - image["x"]) / image["width"] - 10 / 112) < 0.03
        page.fill("#text", "no such text")
        assert shown() == (0, "0 of 8")
        browser.close()
    assert errors == []
