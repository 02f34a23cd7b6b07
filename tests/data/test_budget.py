"""Prompts within a token budget: refused, left out or shrunk, and then really that short, in both backends' rows."""

import json
import os

import pytest
from PIL import Image

from overlay.action.space import Space, seen_size
from overlay.data.budget import fit
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples, as_rows
from overlay.data.images import open_image, open_images
from overlay.data.lengths import image_tokens, prompt_lengths
from overlay.errors import DataError, SettingError
from overlay.prompt.style import PromptStyle
from tests.stock import TASKS

pytestmark = pytest.mark.integration
STYLE = PromptStyle()


@pytest.fixture
def rows(demo_rows, tmp_path):
    return load_dataset(str(demo_rows), str(TASKS / "train"), cache_dir=tmp_path / "arrow").select(range(40))


@pytest.fixture
def processor(tiny_model_dir):
    from overlay.model.processor import load_processor

    return load_processor(str(tiny_model_dir), 784, 336 * 448)


def tokens(processor, example):
    text = processor.apply_chat_template(example["prompt"], tokenize=False, add_generation_prompt=True)
    return len(processor(text=text, images=example["images"])["input_ids"][0])


def test_shrunk_rows_fit_and_the_others_stay(rows, processor, capsys):
    lengths = prompt_lengths(rows, STYLE, processor)
    budget = sorted(lengths)[len(lengths) // 2]
    fitted = fit(rows, STYLE, processor, budget, "shrink")
    assert len(fitted) == 40
    over = sum(length > budget for length in lengths)
    assert 0 < over < 40
    assert f"of 40 prompts 0 left out, {over} with smaller images" in capsys.readouterr().err
    before, after = as_examples(rows, STYLE), as_examples(fitted, STYLE)
    for number, length in enumerate(lengths):
        assert (fitted[number]["max_pixels"] > 0) == (length > budget)
        made = tokens(processor, after[number])
        assert made <= budget
        if length <= budget:
            assert made == length
            assert after[number]["images"][0].size == before[number]["images"][0].size
        else:
            assert budget - made < 60  # not smaller than it must be
    # VLM-R1's rows open the same images.
    batch = [as_rows(fitted, STYLE)[n] for n in range(40)]
    open_images(batch)
    assert [[i.size for i in row["image"]] for row in batch] == [[i.size for i in row["images"]] for row in after]


def test_gold_follows_the_rows_own_size(rows, processor):
    style = PromptStyle(space=Space("resized", 784, 336 * 448))
    lengths = prompt_lengths(rows, style, processor)
    fitted = fit(rows, style, processor, sorted(lengths)[20], "shrink")
    for example in as_examples(fitted, style):
        width, height = Image.open(example["image_path"][-1]).size
        limit = example["max_pixels"] or 336 * 448
        across, down = seen_size(width, height, 784, limit)
        assert example["coordinate_scale"] == [across / width, down / height]
        if example["max_pixels"]:
            assert example["images"][-1].size == (across, down)


def test_filtered_rows_are_gone(rows, processor, capsys):
    lengths = prompt_lengths(rows, STYLE, processor)
    budget = sorted(lengths)[len(lengths) // 2]
    kept = fit(rows, STYLE, processor, budget, "filter")
    assert kept["source"][:] == [row["source"] for row, length in zip(rows, lengths, strict=True) if length <= budget]
    assert f"{40 - len(kept)} left out, 0 with smaller" in capsys.readouterr().err


def test_text_that_is_too_long_cannot_be_shrunk(rows, processor):
    with pytest.raises(DataError, match="no prompt is within --max_prompt_length 60"):
        fit(rows, STYLE, processor, 60, "shrink")


def test_fail_names_the_rows(rows, processor):
    with pytest.raises(
        DataError, match=r"40 of 40 prompts .* 60: .*train\.jsonl:1 \(\d+ tokens\).*--overlong filter or"
    ):
        fit(rows, STYLE, processor, 60, "fail")
    with pytest.raises(SettingError, match="--overlong 'cut' is none of"):
        fit(rows, STYLE, processor, 60, "cut")


def test_it_is_decided_once(rows, processor, monkeypatch):
    first = fit(rows, STYLE, processor, 500, "filter")["source"][:]
    monkeypatch.setattr("overlay.data.budget.prompt_lengths", lambda *a: pytest.fail("measured again"))
    assert fit(rows, STYLE, processor, 500, "filter", rank=1)["source"][:] == first


def test_it_is_decided_anew_for_other_images(processor, tmp_path):
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "x"}]
    (tmp_path / "d.jsonl").write_text(json.dumps({"image": "a.png", "conversations": turns}) + "\n")
    limits = []
    for number, side in enumerate((56, 336, 56)):
        Image.new("RGB", (side, side)).save(tmp_path / "a.png")
        os.utime(tmp_path / "a.png", ns=(number, number))
        rows = load_dataset(str(tmp_path / "d.jsonl"), str(tmp_path), cache_dir=tmp_path / "arrow")
        limits.append(fit(rows, STYLE, processor, 80, "shrink")["max_pixels"][0])
    assert limits[0] == limits[2] == 0
    assert 0 < limits[1] < 336 * 336


@pytest.mark.parametrize(("width", "height"), [(10, 1200), (1500, 12), (336, 772), (40, 40), (1080, 2400)])
@pytest.mark.parametrize("limit", [3136, 200_000])
@pytest.mark.parametrize("least", [784, 150_000])
def test_a_shrunk_image_has_the_tokens_that_were_counted(width, height, limit, least, tiny_model_dir, tmp_path):
    """Narrow ones too, and where --min_pixels makes the processor enlarge what was shrunk."""
    from overlay.model.processor import load_processor

    processor = load_processor(str(tiny_model_dir), least, 500_000)
    Image.effect_noise((width, height), 90).convert("RGB").save(tmp_path / "screen.png")
    image = open_image(str(tmp_path / "screen.png"), "rows.jsonl:1", limit)
    grid = processor.image_processor(images=[image], return_tensors="pt")["image_grid_thw"][0]
    assert image_tokens(width, height, processor, limit) == int(grid.prod()) // 4
    sx, sy = Space("resized", least, 500_000).scale(width, height, limit)
    assert (round(sx * width), round(sy * height)) == (int(grid[2]) * 14, int(grid[1]) * 14)
