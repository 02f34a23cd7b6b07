"""What Qwen's vocabulary costs in a step: patched VLM-R1 against upstream with only the repairs that it needs to run.

Generation, reference pass, rewards, policy pass, backward and optimizer on prompts with two images, with Qwen2.5's
vocabulary on a tiny body, in fp32 on the CPU, so nearly all that is measured is the vocabulary; a step at a real
model's proportions is `benchmarks.group`. Upstream's side has the series without its hooks, and `Repaired`. Both train
on the same rows from the same weights.

    python -m benchmarks.run vocabulary      prints the table and draws runs/bench/vocabulary.png
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.growth import draw
from benchmarks.measure import measure
from overlay.backends.vlm_r1.repairs import Repaired
from overlay.demo.tiny_model import build_model, build_processor
from overlay.patching.submodule import Submodule

VOCABULARY, COMPLETION, IMAGE_TOKENS = 151_936, 64, 400
PROMPT, GENERATIONS, IMAGES = 2000, 4, 2
SIZE = (28 * 16, 28 * 25)  # 400 tokens
PICTURE = Path("runs/bench/vocabulary.png")
GROWTH = {  # what grows, with the rest of (prompt, generations, images)
    "prompt tokens": (0, [(500 + 400, 4, 2), (1400, 4, 2), (2000, 4, 2)]),
    "generations": (1, [(1000, 2, 2), (1000, 4, 2), (1000, 8, 2)]),
    "images (400 tokens each)": (2, [(300, 4, 0), (700, 4, 1), (1100, 4, 2)]),
}
TITLE = f"One GRPO step, vocabulary {VOCABULARY:,}, tiny body, completion {COMPLETION}, CPU"
LINES = {"upstream": ("#b8432f", "o-"), "patched": ("#2f6db8", "o-")}
trainer = None


def _rows(prompt: int, images: int, folder: Path) -> list[dict]:
    """Four rows whose prompts have `prompt` tokens, as upstream's loader leaves them."""
    text = "7\n" * ((prompt - images * IMAGE_TOKENS - 20) // 2)
    parts = [*({"type": "image", "text": None} for _ in range(images)), {"type": "text", "text": text}]
    row = {
        "prompt": [{"role": "user", "content": parts}], "image_path": [str(folder / f"{n}.png") for n in range(images)],
        "problem": text, "solution": "<answer> 1 </answer>", "accu_reward_method": "default", "source": "bench:1",
        "max_pixels": 0, "coordinate_scale": [1.0, 1.0],
    }  # fmt: skip
    return [row] * 4


def rank(completions: list, **columns: object) -> list[float]:
    """A reward that tells the completions of a group apart."""
    return [float(n) for n in range(len(completions))]


def prepare(side: str, folder: str, prompt: str, generations: str, images: str) -> None:
    """Build the trainer, before the clock starts."""
    global trainer
    sys.path.insert(0, f"{folder}/{side}/src/open-r1-multimodal/src")
    with contextlib.redirect_stdout(io.StringIO()):
        from open_r1.trainer import GRPOConfig, VLMGRPOTrainer
        from open_r1.vlm_modules import Qwen2VLModule
    args = GRPOConfig(
        output_dir=f"{folder}/out-{side}", per_device_train_batch_size=int(generations), beta=0.04, use_cpu=True,
        num_generations=int(generations), max_completion_length=COMPLETION, max_steps=1, bf16=False, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    cls = type("RepairedVLMGRPOTrainer", (Repaired, VLMGRPOTrainer), {})
    if side != "upstream":
        from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer as cls
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = cls(
            model=f"{folder}/Qwen2.5-VL-tiny", reward_funcs=[rank], args=args, vlm_module=Qwen2VLModule(),
            train_dataset=Dataset.from_list(_rows(int(prompt), int(images), Path(folder))),
            attn_implementation="sdpa", torch_dtype="float32", max_pixels=SIZE[0] * SIZE[1], min_pixels=784,
        )  # fmt: skip


def step(*_: str) -> list[int]:
    """One optimizer step; the prompt's length in tokens, to be checked."""
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return [0] * trainer._buffered_inputs[0]["prompt_ids"].size(1)


def _measured(folder: Path, *point: int) -> dict[str, dict[str, float]]:
    sides = {side: measure("benchmarks.vocabulary", "step", side, folder, *point) for side in ("upstream", "patched")}
    for side in sides.values():
        side["added_peak"] = side["peak"] - side["peak_before"]
    return sides


def _model(folder: Path) -> None:
    """Model folder with Qwen2.5's vocabulary; upstream tells the kind of a model by the folder's name."""
    processor = build_processor(["7\n" * 8], pixels=SIZE[0] * SIZE[1])
    small = build_model(processor, width=64, depth=2).config.to_dict()
    small["text_config"]["vocab_size"] = VOCABULARY
    config = Qwen2_5_VLConfig.from_dict(small)
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def main() -> None:
    """Print time and memory of both sides, their ratios, and how they grow."""
    points = list(dict.fromkeys([(PROMPT, GENERATIONS, IMAGES), *(p for _, where in GROWTH.values() for p in where)]))
    with tempfile.TemporaryDirectory(prefix="bench-vocabulary-") as name:
        folder = Path(name)
        Submodule().unpack(folder / "patched", "src/open-r1-multimodal/src")
        Submodule().unpack(folder / "upstream", "src/open-r1-multimodal/src", hooks=False)
        _model(folder / "Qwen2.5-VL-tiny")
        for number in range(IMAGES):
            Image.effect_noise(SIZE, 60).convert("RGB").save(folder / f"{number}.png")
        print(
            f"vocabulary {VOCABULARY:,}, completion {COMPLETION}, tiny body, one step; memory beyond the built trainer"
        )
        print("prompt  generations  images    upstream            patched             time    memory")
        results = {}
        for point in points:
            results[point] = sides = _measured(folder, *point)
            first, second = sides["upstream"], sides["patched"]
            columns = "".join(f"{s['seconds']:7.1f} s {s['added_peak'] / 1e9:6.2f} GB  " for s in (first, second))
            print(
                f"{first['rows']:6}  {point[1]:11}  {point[2]:6}  {columns}"
                f"1/{first['seconds'] / second['seconds']:<5.1f} 1/{first['added_peak'] / second['added_peak']:.0f}",
                flush=True,
            )
    draw(results, GROWTH, LINES, TITLE, PICTURE)
