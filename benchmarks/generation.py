"""A batch's completions on equal prompts: transformers' generate, the same with each prompt prefilled once for its
group (what training does without vLLM), and vLLM with and without its prefix cache.

    python -m benchmarks.run generation      (VENV=.venv-vllm; elsewhere vLLM's rows are missing, and say so)

The model has a real one's proportions (benchmarks/group.py), fp32 on the CPU. Two screens a prompt, eight completions
of equal length for each, every one a request of its own, as TRL hands them to a colocated engine. Each side in a
process of its own; imports, loading and a first batch of other prompts are not counted.
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.group import COMPLETION, SCREEN, WORD, build
from benchmarks.measure import measure

PROMPTS, GENERATIONS, SCREENS = 1, 8, 2
TEXT = WORD * 100
SIDES = {
    "transformers": "transformers' generate", "shared": "... each prompt once", "vllm": "vLLM, no prefix cache",
    "cached": "vLLM, prefix cache",
}  # fmt: skip
state: dict[str, Any] = {}


def prepare(side: str, folder: str) -> None:
    """Load a side and generate once, before the clock starts."""
    from overlay.model.processor import load_processor

    processor: Any = load_processor(f"{folder}/model")
    parts = [*({"type": "image"} for _ in range(SCREENS)), {"type": "text", "text": TEXT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    batches = [
        [[Image.open(f"{folder}/{n}-{k}.png").convert("RGB") for k in range(SCREENS)] for n in numbers]
        for numbers in (range(PROMPTS), range(PROMPTS, 2 * PROMPTS))
    ]
    state["generate"] = (_vllm if side in ("vllm", "cached") else _transformers)(
        side, f"{folder}/model", processor, text
    )
    state["batch"] = batches[1]
    state["generate"](batches[0])


def _transformers(side: str, folder: str, processor: Any, text: str) -> Any:
    from transformers import AutoModelForImageTextToText, GenerationConfig

    from overlay.model.features import ImageFeatures
    from overlay.model.prefill import share_prefill
    from overlay.model.shared_attention import install

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    features = ImageFeatures(model, lambda known: known)
    if side == "shared":
        install()
        share_prefill(model, features)
    config = GenerationConfig(
        do_sample=True, min_new_tokens=COMPLETION, max_new_tokens=COMPLETION,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )  # fmt: skip

    def generate(batch: list[list[Image.Image]]) -> int:
        features.clear()
        rows = [images for images in batch for _ in range(GENERATIONS)]
        inputs = processor(text=[text] * len(rows), images=rows, return_tensors="pt")
        with torch.no_grad():
            return model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].size(1) :].numel()

    return generate


def _vllm(side: str, folder: str, processor: Any, text: str) -> Any:
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    from vllm import LLM, SamplingParams

    engine = LLM(
        folder, dtype="float32", enforce_eager=True, max_model_len=4096, enable_prefix_caching=side == "cached",
        limit_mm_per_prompt={"image": SCREENS, "video": 0},
    )  # fmt: skip
    sampling = SamplingParams(temperature=1.0, max_tokens=COMPLETION, min_tokens=COMPLETION, logprobs=0)

    def generate(batch: list[list[Image.Image]]) -> int:
        rows = [images for images in batch for _ in range(GENERATIONS)]
        asked = [{"prompt": text, "multi_modal_data": {"image": images}} for images in rows]
        return sum(len(each.outputs[0].token_ids) for each in engine.generate(asked, sampling, use_tqdm=False))

    return generate


def step(*_: str) -> dict[str, Any]:
    """One batch; the tokens that were made."""
    return {"tokens": state["generate"](state["batch"])}


def main() -> None:
    """Print each side's seconds, and how many times faster than transformers' generate."""
    there = find_spec("vllm") is not None
    if not there:
        print("NOT MEASURED: vLLM (there is none in this environment: make vllm, then make bench VENV=.venv-vllm)")
    with tempfile.TemporaryDirectory(prefix="bench-generation-") as name:
        build(Path(name, "model"))
        for number in range(2 * PROMPTS):
            for screen in range(SCREENS):
                Image.effect_noise(SCREEN, 60).convert("RGB").save(f"{name}/{number}-{screen}.png")
        print(f"{PROMPTS} prompts, {SCREENS} screens each, {GENERATIONS} completions of {COMPLETION} tokens, fp32, CPU")
        first = 0.0
        for side, words in SIDES.items():
            if side in ("vllm", "cached") and not there:
                continue
            found = measure("benchmarks.generation", "step", side, name)
            assert found["kept"]["tokens"] == PROMPTS * GENERATIONS * COMPLETION
            first = first or found["seconds"]
            print(f"{words:24} {found['seconds']:6.1f} s  {first / found['seconds']:5.2f}", flush=True)


if __name__ == "__main__":
    main()
