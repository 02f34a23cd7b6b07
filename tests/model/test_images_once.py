"""Each prompt's images are decoded and processed once for all its copies, and the tensors stay what they were."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor

from overlay.backends.vlm_r1.module import Module
from overlay.data.images import open_images
from overlay.errors import DataError
from overlay.model.images_once import process_once
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle


class Upstream:
    """A module class in upstream's form: one processor call, one grid entry for each image."""

    name = "qwen"

    def __init__(self):
        self.seen = []

    def get_custom_multimodal_keywords(self):
        return ["pixel_values", "image_grid_thw"]

    def prepare_model_inputs(self, processor, prompts_text, images, **options):
        self.seen.append((len(prompts_text), len(images)))
        if not images:
            return processor(text=prompts_text, **options), None
        inputs = processor(text=prompts_text, images=images, **options)
        return inputs, [{"image_grid_thw": grid} for grid in inputs["image_grid_thw"]]


OPTIONS = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": False}


@pytest.fixture
def batch(tiny_model_dir, tmp_path):
    """(processor, rows): prompts of two, no and one image, with copies, not all of them side by side."""
    for name, size in (("a", (112, 168)), ("b", (280, 56)), ("c", (56, 56))):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / f"{name}.png")
    kinds = [("ab", "Compare <image> and <image>"), ("", "Say hello to everybody"), ("c", "Look: <image>")]
    rows = [
        {"image_path": [str(tmp_path / f"{name}.png") for name in kinds[k][0]], "problem": kinds[k][1], "source": "f:1"}
        for k in (0, 0, 1, 2, 0, 1)
    ]
    return load_processor(str(tiny_model_dir), 784, 84 * 112), rows


def texts_of(processor, rows):
    style = PromptStyle()
    prompts = [style.messages(row["problem"], len(row["image_path"])) for row in rows]
    return [processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]


@pytest.fixture
def processed(monkeypatch):
    """How many images each call of the processor's class gets to see; `process_once` is undone afterwards."""
    kind, seen = Qwen2VLImageProcessor, []
    theirs = kind.__call__

    def counted(self, images, *args, **kwargs):
        seen.append(len(images) if isinstance(images, list) else 1)
        return theirs(self, images, *args, **kwargs)

    monkeypatch.setattr(kind, "__call__", counted)
    return seen


def test_tensors_are_those_of_a_call_with_every_copy(batch, processed):
    processor, rows = batch
    open_images(rows)
    texts = texts_of(processor, rows)
    images = [image for row in rows for image in row["image"]]
    expected, extra = Module(Upstream()).prepare_model_inputs(processor, texts, images, **OPTIONS)
    process_once(type(processor.image_processor))
    process_once(type(processor.image_processor))
    actual, own = Module(Upstream()).prepare_model_inputs(processor, texts, images, **OPTIONS)
    assert processed == [7, 3]
    assert expected.keys() == actual.keys()
    assert expected.pop("prompt_length") == actual.pop("prompt_length") == actual["input_ids"].shape[1]
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert all(torch.equal(a["image_grid_thw"], b["image_grid_thw"]) for a, b in zip(extra, own, strict=True))
    assert own[0] is not own[1]  # the trainer writes into them
    nested = processor(
        text=texts, images=[row["image"] for row in rows if row["image"]], padding=True, return_tensors="pt"
    )
    assert torch.equal(nested["pixel_values"], actual["pixel_values"])
    assert processed[2] == 3


def test_without_copies_or_without_images_the_processor_is_simply_called(batch, processed):
    processor, rows = batch
    process_once(type(processor.image_processor))
    text_only = [row for row in rows if not row["image_path"]]
    module = Module(Upstream())
    inputs, extra = module.prepare_model_inputs(processor, texts_of(processor, text_only), [], **OPTIONS)
    assert (extra, inputs["input_ids"].shape[0], processed) == (None, 2, [])
    assert module.name == "qwen"  # everything else is the module's
    one = Image.new("RGB", (56, 56))
    assert processor.image_processor(images=one, return_tensors="pt")["image_grid_thw"].shape == (1, 3)
    as_lists = processor.image_processor(images=[one, one])  # no tensors asked for: as it was
    assert len(as_lists["image_grid_thw"]) == 2


def test_an_image_is_opened_once_and_a_missing_one_names_its_row(batch, tmp_path, monkeypatch):
    _, rows = batch
    opened = []
    monkeypatch.setattr(
        "overlay.data.images.open_image", lambda path, source, limit: opened.append(path) or SimpleNamespace()
    )
    open_images(rows)
    assert len(opened) == len(set(opened)) == 3
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"rows\.jsonl:7: image .*gone\.png"):
        open_images([{"image_path": [str(tmp_path / "gone.png")], "source": "rows.jsonl:7"}])
