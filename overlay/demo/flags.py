"""Command lines of the demo's trainings: GRPO, and the supervised training before it."""

from pathlib import Path
from typing import Any

from overlay.demo.score import MOST_TOKENS
from overlay.live.phone.screen import HEIGHT, WIDTH

Flags = dict[str, Any]  # name → value, a tuple for several

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT / "VLM-R1" / "src" / "open-r1-multimodal"
PIXELS = WIDTH * HEIGHT
GRPO = {
    "trl": ["-m", "overlay.backends.trl.train", "--reward_weights", "1", "0.25", "--max_prompt_length", "400"],
    "vlm-r1": [
        "-m", "overlay.program", str(UPSTREAM / "src/open_r1/grpo_jsonl.py"), "--dataset_name", "none",
        "--torch_dtype", "float32",
    ],
}  # fmt: skip
SFT = ("-m", "overlay.backends.sft.train")
# glibc gives every freed tensor back to the kernel and faults it in again; keeping it saves a fifth of a step here.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def grpo_flags(start: Path, rows: Path, images: Path, folder: Path) -> Flags:
    """A trainer's flags for GRPO of the model in `start` on `rows`, into `folder`."""
    return {
        "model_name_or_path": start, "output_dir": folder, "data_file_paths": rows, "image_folders": images,
        "arrow_cache_dir": rows.parent / "arrow", "task_type": "gui", "reward_funcs": ("accuracy", "format_scaled"),
        "reward_method": "gui_action", "max_pixels": PIXELS, "min_pixels": 28 * 28,
        "attn_implementation": "sdpa", "num_generations": 8, "per_device_train_batch_size": 64,
        "max_completion_length": MOST_TOKENS, "beta": 0, "temperature": 1, "learning_rate": "1e-4",
        "lr_scheduler_type": "constant", "scale_rewards": "none", "freeze_vision_modules": "true",
        "logging_steps": 1, "save_only_model": "true",
        "gradient_checkpointing": "false", "report_to": "tensorboard", "use_cpu": "true", "bf16": "false",
    }  # fmt: skip


def sft_flags(start: Path, rows: Path, images: Path, folder: Path) -> Flags:
    """The flags of `make sft` for training the model in `start` on `rows`, into `folder`."""
    return {
        "model_name_or_path": start, "output_dir": folder, "data_file_paths": rows, "image_folders": images,
        "arrow_cache_dir": rows.parent / "arrow", "task_type": "gui", "max_pixels": PIXELS, "min_pixels": 28**2,
        "attn_implementation": "sdpa", "freeze_vision_modules": "true", "per_device_train_batch_size": 16,
        "learning_rate": 5e-4, "logging_steps": 10, "save_strategy": "no", "gradient_checkpointing": "false",
        "report_to": "none", "use_cpu": "true", "bf16": "false", "seed": 0,
    }  # fmt: skip


def words_of(flags: Flags) -> list[str]:
    """The flags as words of a command line."""
    found = []
    for name, value in flags.items():
        found += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return found
