"""A whole GRPO step at a real model's proportions: each prompt once for its group, against trainers that compute it for
every completion.

The body costs what it costs in Qwen2.5-VL-7B beside the vocabulary (12 times it), the vision tower 38 % of the prefill
as in 3B; prompts are 22 times longer than completions as in GUI steps. fp32 on the CPU, one prompt, frozen tower, beta
0.04, one batch for two iterations (so there are an old, a reference and two policy passes), completions of equal
length. All sides train on the same rows from the same weights in this one run, each in a process of its own:

    upstream   VLM-R1 with the repairs that it needs to run and nothing else
    trl        TRL's stock GRPOTrainer
    ours/...   this project's trainers on each of them

Then this project's trainers on a batch of several prompts, whole and in passes of one group (--tokens_per_pass).

    python -m benchmarks.run group      prints the tables and draws runs/bench/group.png
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image

from benchmarks.growth import draw
from benchmarks.measure import measure
from overlay.patching.submodule import Submodule

SIDES = ("upstream", "trl", "ours/vlm-r1", "ours/trl")
COMPLETION = 64
SCREEN = (28 * 16, 28 * 35)  # 560 tokens
PICTURE = Path("runs/bench/group.png")
TITLE = f"A batch at a real model's proportions, trained on twice; completion {COMPLETION}, CPU"
LINES = {
    "upstream": ("#b8432f", "o-"), "trl": ("#d99a2b", "s--"), "ours/vlm-r1": ("#2f6db8", "o-"),
    "ours/trl": ("#2f9e6b", "s--"),
}  # fmt: skip
GROWTH = {
    "generations": (0, [(2, 1400, 2), (4, 1400, 2), (8, 1400, 2), (16, 1400, 2)]),
    "prompt tokens": (1, [(8, 700, 1), (8, 1400, 2), (8, 2800, 4)]),
}
PHASES = ("generation", "old", "reference", "policy", "rest")
WORD = "7\n"
SEVERAL, POINT, BUDGET = 4, (4, 1400, 2), 1700  # prompts; generations, prompt tokens, images; tokens of a group
state: dict[str, Any] = {}


def build(folder: Path) -> None:
    """The model's folder; upstream tells its kind by the folder's name."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from overlay.demo.tiny_model import build_model, build_processor

    processor = build_processor([WORD * 8], pixels=SCREEN[0] * SCREEN[1])
    config = build_model(processor, width=64, depth=2).config.to_dict()
    width = 256
    config["text_config"] |= {
        "vocab_size": 3584, "hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": 14,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rope_parameters": {
            "rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 10000.0},
        "max_position_embeddings": 8192, "layer_types": None,
    }  # fmt: skip
    config["vision_config"] |= {
        "depth": 5, "hidden_size": 160, "intermediate_size": 480, "num_heads": 4, "out_hidden_size": width,
        "fullatt_block_indexes": [4],
    }  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(config))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def rows(prompt: int, images: int, folder: Path, count: int) -> list[dict[str, Any]]:
    """`count` rows whose prompts have about `prompt` tokens."""
    per_image = SCREEN[0] * SCREEN[1] // 28**2
    text = WORD * ((prompt - images * per_image - 20) // 2)
    parts = [*({"type": "image", "text": None} for _ in range(images)), {"type": "text", "text": text}]
    return [
        {
            "prompt": [{"role": "user", "content": parts}], "problem": text, "solution": "<answer> 1 </answer>",
            "image_path": [str(folder / f"{number}-{n}.png") for n in range(images)], "source": f"bench:{number}",
            "accu_reward_method": "default", "max_pixels": 0, "coordinate_scale": [1.0, 1.0],
        }
        for number in range(count)
    ]  # fmt: skip


def rank(completions: list, **columns: object) -> list[float]:
    """A reward that tells the completions of a group apart."""
    return [float(n) for n in range(len(completions))]


def prepare(
    side: str, folder: str, generations: str, prompt: str, images: str, prompts: str = "1", budget: str = "0"
) -> None:
    """Build the trainer, before the clock starts."""
    data = rows(int(prompt), int(images), Path(folder), int(prompts))
    state["budget"] = int(budget)
    common = {
        "output_dir": f"{folder}/out", "per_device_train_batch_size": int(generations) * int(prompts), "beta": 0.04,
        "use_cpu": True, "num_generations": int(generations), "max_completion_length": COMPLETION, "max_steps": 2,
        "num_iterations": 2, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "logging_strategy": "no", "learning_rate": 1e-6, "gradient_checkpointing": False,
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        make = _vlm_r1 if side in ("upstream", "ours/vlm-r1") else _trl
        trainer = make(side, Path(folder), common, data)
    state["trainer"], state["seconds"] = trainer, dict.fromkeys(PHASES, 0.0)
    _watch(trainer)


def _vlm_r1(side: str, folder: Path, common: dict[str, Any], data: list) -> Any:
    code = folder / side.replace("/", "-") / "src/open-r1-multimodal/src"
    sys.path.insert(0, str(code))
    from open_r1.trainer import GRPOConfig, VLMGRPOTrainer
    from open_r1.vlm_modules import Qwen2VLModule

    from overlay.backends.vlm_r1.repairs import Repaired

    own: dict[str, Any] = {}
    if side == "upstream":
        cls = type("RepairedVLMGRPOTrainer", (Repaired, VLMGRPOTrainer), {})
    else:
        from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer as cls
        from overlay.settings import VlmTrainerOptions

        own["options"] = VlmTrainerOptions(rollout_log_mb=0, tokens_per_pass=state["budget"])
    trainer = cls(
        model=str(folder / "Qwen2.5-VL-tiny"), reward_funcs=[rank], args=GRPOConfig(**common),
        vlm_module=Qwen2VLModule(), train_dataset=Dataset.from_list(data), attn_implementation="sdpa",
        torch_dtype="float32", max_pixels=SCREEN[0] * SCREEN[1], min_pixels=784, freeze_vision_modules=True,
        **own,
    )  # fmt: skip
    trainer.generation_config.min_new_tokens = COMPLETION
    return trainer


def _trl(side: str, folder: Path, common: dict[str, Any], data: list) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    from overlay.backends.trl.trainer import GuiGRPOTrainer, freeze_vision
    from overlay.model.processor import load_processor
    from overlay.settings import TrainerOptions

    args = GRPOConfig(
        **common, generation_kwargs={"min_new_tokens": COMPLETION}, loss_type="grpo", use_bias_correction_kl=False,
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
    )  # fmt: skip
    options = TrainerOptions(rollout_log_mb=0, tokens_per_pass=state["budget"])
    own = {"freeze_vision_modules": True, "options": options} if side != "trl" else {}
    if side == "trl":  # stock takes images from the rows
        for row in data:
            row["images"] = [Image.open(path).convert("RGB") for path in row["image_path"]]
    trainer = (GRPOTrainer if side == "trl" else GuiGRPOTrainer)(
        model=str(folder / "Qwen2.5-VL-tiny"), reward_funcs=[rank], args=args, train_dataset=Dataset.from_list(data),
        processing_class=load_processor(str(folder / "Qwen2.5-VL-tiny")), **own,
    )  # fmt: skip
    if side == "trl":
        freeze_vision(trainer.model)
    return trainer


def _watch(trainer: Any) -> None:
    """Seconds of each phase, and tokens that go through the body."""
    seconds, tokens = state["seconds"], state.setdefault("tokens", {"body": 0, "tower": 0})

    def timed(name: str, call: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - start

        return run

    trainer.model.generate = timed("generation", trainer.model.generate)
    name = next(n for n in ("_get_per_token_logps_and_entropies", "_get_per_token_logps") if hasattr(trainer, n))
    log_probs = getattr(trainer, name)

    def passes(model: Any, *args: Any, **kwargs: Any) -> Any:
        what = "policy" if torch.is_grad_enabled() else "reference" if model is trainer.ref_model else "old"
        return timed(what, log_probs)(model, *args, **kwargs)

    setattr(trainer, name, passes)
    backward = trainer.accelerator.backward
    trainer.accelerator.backward = timed("policy", backward)
    for model in filter(None, (trainer.model, trainer.ref_model)):
        inner = model.model
        inner.language_model.register_forward_pre_hook(
            lambda m, a, k: tokens.__setitem__("body", tokens["body"] + k["inputs_embeds"].shape[:2].numel()),
            with_kwargs=True,
        )
        inner.visual.register_forward_pre_hook(
            lambda m, a: tokens.__setitem__("tower", tokens["tower"] + len(a[0]) // 4)
        )


def step(*_: str) -> dict[str, Any]:
    """One batch: generated once, trained on twice. The phases' seconds and tokens."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        state["trainer"].train()
    seconds = state["seconds"]
    seconds["rest"] = time.perf_counter() - start - sum(seconds.values())
    return {**seconds, **state["tokens"]}


def measured(folder: Path, point: tuple[int, int, int], sides: tuple[str, ...] = SIDES) -> dict[str, dict[str, Any]]:
    """What each side needs at (generations, prompt tokens, images)."""
    found = {}
    for side in sides:
        result = measure("benchmarks.group", "step", side, folder, *point)
        found[side] = result | {"added_peak": result["peak"] - result["peak_before"]}
    return found


def table(point: tuple[int, int, int], sides: dict[str, dict[str, Any]]) -> None:
    """Print one point, ratios against TRL's stock trainer."""
    stock = sides["trl"]
    update = {side: sum(value["kept"][p] for p in ("old", "reference", "policy")) for side, value in sides.items()}
    print(f"\nG {point[0]}, prompt {point[1]}, {point[2]} screens, completion {COMPLETION}: ratios against trl")
    print(f"{'side':12}  step  1/x   update  1/x   memory   1/x    " + "  ".join(f"{p:>10}" for p in PHASES)
          + "   body tokens  tower tokens")  # fmt: skip
    for side, value in sides.items():
        phases = "  ".join(f"{value['kept'][phase]:8.1f} s" for phase in PHASES)
        print(
            f"{side:12} {value['seconds']:5.1f} {stock['seconds'] / value['seconds']:5.2f}  {update[side]:6.1f} "
            f"{update['trl'] / update[side]:5.2f}  {value['added_peak'] / 1e9:5.2f} GB "
            f"{stock['added_peak'] / value['added_peak']:5.2f}  {phases}  {value['kept']['body']:11,} "
            f"{value['kept']['tower']:13,}", flush=True,
        )  # fmt: skip


def budgets(folder: Path) -> None:
    """Print what a batch of several prompts needs, whole and in passes of one group."""
    print(f"\n{SEVERAL} prompts with G {POINT[0]}, prompt {POINT[1]}, {POINT[2]} screens: --tokens_per_pass")
    print(f"{'side':12} budget   step      update     memory   body tokens")
    for side in ("ours/vlm-r1", "ours/trl"):
        for budget in (0, BUDGET):
            value: dict[str, Any] = measure("benchmarks.group", "step", side, folder, *POINT, SEVERAL, budget)
            update = sum(value["kept"][phase] for phase in ("old", "reference", "policy"))
            print(
                f"{side:12} {budget:6} {value['seconds']:6.1f} s {update:9.1f} s "
                f"{(value['peak'] - value['peak_before']) / 1e9:7.2f} GB {value['kept']['body']:13,}", flush=True,
            )  # fmt: skip


def main() -> None:
    """Print all points, and draw them."""
    with tempfile.TemporaryDirectory(prefix="bench-group-") as name:
        folder = Path(name)
        Submodule().unpack(folder / "ours-vlm-r1", "src/open-r1-multimodal/src")
        Submodule().unpack(folder / "upstream", "src/open-r1-multimodal/src", hooks=False)
        build(folder / "Qwen2.5-VL-tiny")
        for number in range(SEVERAL):
            for n in range(4):
                Image.effect_noise(SCREEN, 60).convert("RGB").save(folder / f"{number}-{n}.png")
        points = list(dict.fromkeys(p for _, where in GROWTH.values() for p in where))
        results = {}
        for point in points:
            results[point] = measured(folder, point)
            table(point, results[point])
        budgets(folder)
    draw(results, GROWTH, LINES, TITLE, PICTURE)
