"""What this machine makes of the packed pass: is it exact, how fast is it, what does it hold. One command on any GPU.

    python -m benchmarks.gpu_check [--model FOLDER] [--out runs/gpu-check]      (make gpu-check)

On a GPU the model has Qwen2.5-VL-3B's shapes with random weights in bf16, two screens of 1,003,520 pixels, eight
completions of 150 tokens; --tiny (the default without a GPU) has the shapes of a test. Prints a table and writes
gpu-check.json. Exactness is told beside what bf16 itself is worth: the ordinary pass of the batch against that of each
row alone. Where there are several GPUs (or --ranks says so) the packed pass is run under ZeRO-3 too, against one
process (`benchmarks.gpu_zero3`). --model: a folder or hub name with trained weights instead.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from overlay.checks import writable_folder
from overlay.errors import Arguments, command
from overlay.model.features import ImageFeatures
from overlay.model.folder import config_of
from overlay.model.logprobs import by_chunks
from overlay.model.packing import IGNORED, Rows, why_not
from overlay.model.prefill import share_prefill
from overlay.model.shared_attention import install
from overlay.model.vision import vision_tower

GROUP, COMPLETION, SCREENS, TEXT = 8, 150, 2, 1000
MERGED = (26, 48)  # cells of a screen of 1080 x 2400 under 1,003,520 pixels
TINY = {"group": 3, "completion": 5, "screens": 1, "text": 12, "merged": (2, 3)}
REPEATS = 3


def three_b() -> Any:
    """Qwen2.5-VL-3B's shapes with random weights."""
    text = {
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36,
        "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 128_000,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0},
    }  # fmt: skip
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 2048, "num_heads": 16,
        "fullatt_block_indexes": [7, 15, 23, 31], "window_size": 112,
    }  # fmt: skip
    return _made(Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True))


def tiny() -> Any:
    """A test's."""
    text = {
        "vocab_size": 151_936, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_heads": 2,
        "fullatt_block_indexes": [1],
    }  # fmt: skip
    return _made(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def _made(config: Any) -> Any:
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(0)
        return Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(dtype)


def batch(model: Any, shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A group: one prompt with its screens for every completion, completions of different lengths."""
    config, vision = model.config, model.config.vision_config
    words = torch.Generator().manual_seed(1)
    across, down = shapes["merged"]
    merge = vision.spatial_merge_size
    ids = torch.randint(1000, 100_000, (shapes["text"],), generator=words).tolist()
    for _ in range(shapes["screens"]):
        image = [config.image_token_id] * (across * down)
        ids = [*ids, config.vision_start_token_id, *image, config.vision_end_token_id]
    ids += [1001, 1002]
    width = getattr(vision, "in_channels", 3) * vision.temporal_patch_size * vision.patch_size**2
    pixels = torch.randn(shapes["screens"] * across * down * merge**2, width, generator=words)
    rows, masks = [], []
    for number in range(shapes["group"]):
        length = shapes["completion"] - number
        own = torch.randint(1000, 100_000, (length,), generator=words).tolist()
        rows.append(ids + own + [0] * number)
        masks.append([1] * (len(ids) + length) + [0] * number)
    grid = torch.tensor([[1, down * merge, across * merge]] * shapes["screens"])
    device = model.device
    return {
        "input_ids": torch.tensor(rows, device=device), "attention_mask": torch.tensor(masks, device=device),
        "pixel_values": pixels.repeat(shapes["group"], 1).to(device, model.dtype),
        "image_grid_thw": grid.repeat(shapes["group"], 1).to(device),
    }  # fmt: skip


def scored(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log-probs (B, C) of tokens (B, C) by logits (B, C, V), as the trainers make them."""
    return by_chunks(lambda part: part, logits, ids, temperature=1.0)


def ordinary(model: Any, inputs: dict[str, torch.Tensor], kept: int, rows: range) -> torch.Tensor:
    """(rows, kept) log-probs, each row with its own prompt; 0 where there is padding."""
    chosen = slice(rows.start, rows.stop)
    images = len(inputs["image_grid_thw"]) // len(inputs["input_ids"])
    patches = len(inputs["pixel_values"]) // len(inputs["input_ids"])
    ids, mask = inputs["input_ids"][chosen], inputs["attention_mask"][chosen]
    logits = model(
        input_ids=ids, attention_mask=mask, mm_token_type_ids=(ids == model.config.image_token_id).int(),
        pixel_values=inputs["pixel_values"][rows.start * patches : rows.stop * patches],
        image_grid_thw=inputs["image_grid_thw"][rows.start * images : rows.stop * images], logits_to_keep=kept + 1,
    ).logits[:, :-1]  # fmt: skip
    return scored(logits, ids[:, -kept:]) * mask[:, -kept:]


def shared(
    model: Any, features: ImageFeatures, inputs: dict[str, torch.Tensor], kept: int, engine: Any = None
) -> torch.Tensor:
    """The same by one packed row, whose forward is the `engine`'s where there is one."""
    packed = Rows(model, **inputs, kept=kept).pack()
    places = (packed.labels[0, 1:] != IGNORED).nonzero()[:, 0]
    with features.inputs(packed.pixel_values, packed.image_grid_thw) as images:
        logits = (engine or model)(**packed.inputs, **images, logits_to_keep=places).logits
    return packed.spread(scored(logits, packed.labels[:, 1:][:, places])[0], len(inputs["input_ids"]), kept)


def timed(work: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """(seconds of the fastest of some calls, bytes at the peak beyond what was held before; 0 without a GPU)."""
    work()
    seconds, held = [], 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() - held if device.type == "cuda" else 0
    return min(seconds), float(peak)


def check(model: Any, shapes: dict[str, Any]) -> dict[str, Any]:
    """All figures of a model on its device."""
    install()
    reason = why_not(model)
    if reason is not None:
        raise ValueError(f"this model takes no packed rows: {reason}")
    found = vision_tower(model)
    assert found is not None
    found[1].requires_grad_(False)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs, kept = batch(model, shapes), shapes["completion"]
    group, device = shapes["group"], model.device
    never = ImageFeatures(model, lambda known: False)
    once = ImageFeatures(model, bool)
    with torch.no_grad():
        whole = ordinary(model, inputs, kept, range(group))
        alone = torch.cat([ordinary(model, inputs, kept, range(n, n + 1)) for n in range(group)])
        packed = shared(model, never, inputs, kept)

    def update(passes: Callable[[], list[torch.Tensor]]) -> Callable[[], None]:
        def work() -> None:
            model.zero_grad(set_to_none=True)
            for values in passes():
                values.mean().backward()

        return work

    def anew() -> Any:
        return (ordinary(model, inputs, kept, range(n, n + 1)) for n in range(group))

    figures: dict[str, Any] = {
        "log_probs_apart": {
            "packed against ordinary": _apart(packed, whole),
            "ordinary against each row alone": _apart(whole, alone),
        }
    }
    tokens = Rows(model, **inputs, kept=kept).pack().tokens
    passes = {
        "ordinary": (update(anew), inputs["attention_mask"].sum().item()),
        "packed": (update(lambda: [shared(model, never, inputs, kept)]), tokens),
        "packed, features kept": (update(lambda: [shared(model, once, inputs, kept)]), tokens),
    }
    figures["forward and backward"] = {
        name: _figures(*timed(work, device), count, group) for name, (work, count) in passes.items()
    }
    figures["generation"] = _generation(model, inputs, kept, once, device)
    return figures


def _generation(
    model: Any, inputs: dict[str, torch.Tensor], kept: int, features: ImageFeatures, device: torch.device
) -> dict[str, Any]:
    from transformers import GenerationConfig

    model.gradient_checkpointing_disable()
    ids = inputs["input_ids"][:, :-kept]
    given = inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    given["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    config = GenerationConfig(
        do_sample=True, max_new_tokens=kept, min_new_tokens=kept, pad_token_id=0, eos_token_id=1,
        suppress_tokens=[model.config.image_token_id],
    )  # fmt: skip

    def work() -> None:
        features.clear()
        model.generate(**given, generation_config=config)

    tokens = ids.numel() + len(ids) * kept
    before = _figures(*timed(work, device), tokens, len(ids))
    share_prefill(model, features)
    return {"each prompt anew": before, "prefilled once": _figures(*timed(work, device), tokens, len(ids))}


def _apart(first: torch.Tensor, second: torch.Tensor) -> dict[str, float]:
    apart = (first - second).abs()
    return {"mean": apart.mean().item(), "largest": apart.max().item()}


def _figures(seconds: float, peak: float, tokens: float, group: int) -> dict[str, float]:
    return {
        "seconds": seconds, "completions_per_second": group / seconds, "tokens": tokens, "peak_gb": peak / 1e9
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{result['device']}, torch {result['torch']}, {result['dtype']}, {result['shapes']}", ""]
    for name, apart in result["log_probs_apart"].items():
        lines.append(f"log-probs, {name:34} mean {apart['mean']:.1e}, largest {apart['largest']:.1e}")
    for part in ("forward and backward", "generation"):
        lines += ["", f"{part:24}  seconds    1/x   completions/s    tokens   peak"]
        first = next(iter(result[part].values()))["seconds"]
        lines += [
            f"{name:24} {f['seconds']:8.3f} {first / f['seconds']:6.2f} {f['completions_per_second']:15.2f} "
            f"{f['tokens']:9,.0f} {f['peak_gb']:6.2f} GB"
            for name, f in result[part].items()
        ]
    if "zero3" in result:
        from benchmarks import gpu_zero3

        lines.append(gpu_zero3.table(result["zero3"]))
    return "\n".join(lines)


def model_and_shapes(name: str | None, small: bool, device: torch.device) -> tuple[Any, dict[str, Any]]:
    """The model to check on its device, and the shapes of its batch."""
    with device:
        if name:
            model = AutoModelForImageTextToText.from_pretrained(name, dtype=torch.bfloat16)
        else:
            model = tiny() if small else three_b()
    real = {"group": GROUP, "completion": COMPLETION, "screens": SCREENS, "text": TEXT, "merged": MERGED}
    return model.to(device), TINY if small else real


@command("gpu-check", OSError, ValueError)
def main(argv: list[str] | None = None) -> int:
    """Check, print, write."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", help="trained weights instead of random ones")
    parser.add_argument("--tiny", action="store_true", help="the shapes of a test")
    parser.add_argument("--ranks", type=int, help="processes under ZeRO-3; by default as many as GPUs")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"))
    args = parser.parse_args(argv)
    if args.model:
        config_of(args.model)
    writable_folder(args.out)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = args.tiny or (device.type == "cpu" and not args.model)
    if small and not args.tiny:
        print("no GPU here: tiny shapes, which say that it runs and nothing of speed", file=sys.stderr)
    model, shapes = model_and_shapes(args.model, small, device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    result = {
        "device": name, "torch": torch.__version__, "dtype": str(model.dtype), "shapes": shapes,
        "parameters": model.num_parameters(),
        **check(model, shapes),
    }  # fmt: skip
    del model
    ranks = args.ranks or torch.cuda.device_count()
    if ranks > 1:
        from benchmarks import gpu_zero3

        torch.cuda.empty_cache()
        result["zero3"] = gpu_zero3.start(ranks, args.model, small, args.out)
    print(table(result))
    (args.out / "gpu-check.json").write_text(json.dumps(result, indent=2))
    print(args.out / "gpu-check.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
