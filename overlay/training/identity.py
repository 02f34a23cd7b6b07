"""What run an output folder holds: its settings, so that another run does not go on with its weights and schedule."""

import hashlib
import json
from enum import Enum
from pathlib import Path
from typing import Any

from overlay.errors import SettingError
from overlay.training.checkpoints import last_checkpoint

RECORD = "run.json"
# What a run trains on and how; not where it logs, how often it saves, or on what devices it computes.
DATA = (
    "reward_funcs", "reward_method", "task_type", "prompt_template", "images_first", "coordinate_space", "min_pixels",
    "max_pixels", "overlong", "val_split_ratio",
)  # fmt: skip
TRAINING = (
    "learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio", "weight_decay", "max_grad_norm", "optim",
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "world_size",
    "num_generations", "num_iterations", "steps_per_generation", "max_completion_length", "max_prompt_length", "beta",
    "epsilon", "epsilon_high", "loss_type", "scale_rewards", "reward_weights", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "seed", "dynamic_sampling", "sync_ref_model",
)  # fmt: skip
MODEL = ("model_name_or_path", "use_peft", "lora_r", "lora_alpha", "lora_target_modules", "freeze_vision_modules")


def settings_of(data: Any, training: Any, model: Any) -> dict[str, Any]:
    """The settings that make a run what it is, as JSON holds them; data files by their contents."""
    groups = ((data, (*DATA, *TRAINING)), (training, TRAINING), (model, MODEL))
    found = {name: getattr(part, name) for part, names in groups for name in names if hasattr(part, name)}
    found["data"] = [_digest(Path(file)) for file in data.data_file_paths.split(":") if file]
    return json.loads(json.dumps(found, default=_plain))


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else str(value)


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def check_identity(output_dir: str, settings: dict[str, Any], changed_is_meant: bool, writes: bool) -> None:
    """Compare with the run in the folder and keep the settings there (`writes`: this process does). SettingError names
    what differs when there is a checkpoint to go on from, unless the change is meant (--resume_changed true)."""
    file = Path(output_dir) / RECORD
    if last_checkpoint(output_dir) and file.is_file() and not changed_is_meant:
        before = json.loads(file.read_text(encoding="utf-8"))
        names = [name for name in settings if name in before and before[name] != settings[name]]
        if names:
            told = ", ".join(f"{name} {before[name]} there, {settings[name]} now" for name in names[:4])
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise SettingError(
                f"{output_dir} holds another run ({told}{more}): choose another --output_dir, or say that it is meant "
                "to go on changed with --resume_changed true"
            )
    if writes:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".tmp")
        aside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        aside.replace(file)
