"""A prompt's images for a whole group: ours (once) against upstream's way (once for each generation).

Upstream's side is its own `prepare_model_inputs`, fed as its trainer feeds it: every copy's image opened anew.
"""

import contextlib
import functools
import io
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor

from benchmarks.measure import measure
from overlay.backends.vlm_r1.module import Module
from overlay.data.images import open_images
from overlay.demo.tiny_model import build_processor
from overlay.model.images_once import process_once
from overlay.patching.submodule import Submodule
from overlay.prompt.style import PromptStyle

SIZE, GENERATIONS, MAX_PIXELS = (1080, 2400), 8, 1_003_520
OPTIONS = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": False}


def qwen_module(source: str):
    """Upstream's module class of the unpacked tree `source`."""
    if source not in sys.path:
        sys.path.insert(0, source)
    with contextlib.redirect_stdout(io.StringIO()):
        from open_r1.vlm_modules import Qwen2VLModule
    return Qwen2VLModule()


def prepare(source: str, folder: str) -> None:
    """Import and load before the clock starts."""
    qwen_module(source)
    _group(folder)


@functools.cache
def _group(folder: str) -> tuple:
    processor = AutoProcessor.from_pretrained(f"{folder}/processor")
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": MAX_PIXELS}
    prompt = PromptStyle().messages("<image><image>What comes next?", 2)
    text = processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    paths = [f"{folder}/{n}.png" for n in (1, 2)]
    return processor, [text] * GENERATIONS, [{"image_path": paths, "source": "bench:1"} for _ in range(GENERATIONS)]


def theirs(source: str, folder: str):
    """Every copy opened and processed."""
    processor, texts, rows = _group(folder)
    images = [Image.open(path) for row in rows for path in row["image_path"]]
    inputs, _ = qwen_module(source).prepare_model_inputs(processor, texts, images, **OPTIONS)
    return inputs


def ours(source: str, folder: str):
    """Each image opened and processed once."""
    processor, texts, rows = _group(folder)
    open_images(rows)
    images = [image for row in rows for image in row["image"]]
    process_once(type(processor.image_processor))
    inputs, _ = Module(qwen_module(source)).prepare_model_inputs(processor, texts, images, **OPTIONS)
    inputs.pop("prompt_length")  # for our log-prob pass
    return inputs


def main() -> None:
    """Print seconds, the ratio and whether the tensors are identical."""
    with tempfile.TemporaryDirectory(prefix="bench-images-") as name:
        folder = Path(name)
        Submodule().unpack(folder, "src/open-r1-multimodal/src")
        source = folder / "src" / "open-r1-multimodal" / "src"
        build_processor(["What comes next?"]).save_pretrained(folder / "processor")
        for number in (1, 2):
            Image.effect_noise(SIZE, 60).convert("RGB").save(folder / f"{number}.png")
        upstream = measure("benchmarks.images", "theirs", source, folder)
        mine = measure("benchmarks.images", "ours", source, folder)
        first, second = theirs(str(source), str(folder)), ours(str(source), str(folder))
    same = first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    print(f"one prompt of two {SIZE[0]} x {SIZE[1]} images, {GENERATIONS} generations, max_pixels {MAX_PIXELS:,}")
    print(f"upstream {upstream['seconds']:6.2f} s\nours     {mine['seconds']:6.2f} s")
    print(f"time 1/{upstream['seconds'] / mine['seconds']:.1f}, tensors {'identical' if same else 'DIFFERENT'}")
    if not same:
        raise SystemExit("the tensors differ")
