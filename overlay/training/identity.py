"""What run an output folder holds: its settings, so that another run does not go on with its weights and schedule, and
whether it is finished."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

from overlay.errors import Finished, SettingError
from overlay.training.checkpoints import last_checkpoint
from overlay.training.leave import close_at_exit
from overlay.training.run_files import RECORD

SECRET = ("--hub_token", "--push_to_hub_token")
MODEL_FILES = ("config.json", "adapter_config.json")
# What a run trains on and how; not where it logs, how often it saves, or on what devices it computes.
NAMES = (
    "reward_funcs", "reward_method", "reward_weights", "click_reward", "task_type", "prompt_template", "images_first",
    "coordinate_space", "min_pixels", "max_pixels", "overlong", "val_split_ratio", "judge_model", "judge_prompt",
    "model_name_or_path", "use_peft", "lora_r", "lora_alpha", "lora_target_modules", "freeze_vision_modules",
    "learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio", "weight_decay", "max_grad_norm", "optim",
    "adam_beta1", "adam_beta2", "adam_epsilon", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "world_size", "num_generations", "num_iterations", "steps_per_generation",
    "shuffle_dataset", "max_completion_length", "max_prompt_length", "mask_truncated_completions", "beta", "epsilon",
    "epsilon_high", "loss_type", "scale_rewards", "importance_sampling_level", "multi_objective_aggregation",
    "use_bias_correction_kl", "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps", "temperature",
    "top_p", "top_k", "min_p", "repetition_penalty", "seed", "dynamic_sampling", "generate_ahead",
    "answer_weight", "direct_share", "difficulty", "thinking", "least_blame", "data_weights", "curriculum_epochs",
    "answer_format", "history_screens", "history_crop", "episodes", "episode_steps", "patches", "episode_discount",
    "episode_weight", "live_pages", "live_tasks", "live_seeds",
)  # fmt: skip


def settings_of(*arguments: Any) -> dict[str, Any]:
    """The settings of a backend's arguments that make a run what it is, as JSON holds them. Files stand by their
    contents, folders by their whole path: the same run may be started from elsewhere."""
    found = {name: getattr(part, name) for name in NAMES for part in arguments if hasattr(part, name)}
    files = next(part.data_file_paths for part in arguments if hasattr(part, "data_file_paths"))
    found["data"] = [_settled(file) for file in files.split(":") if file]
    return json.loads(json.dumps(_settled(found), default=str))


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _settled(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_settled(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str) and value and Path(value).is_file():
        with open(value, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    return str(Path(value).resolve()) if isinstance(value, str) and "/" in value and Path(value).is_dir() else value


def started() -> dict[str, Any]:
    """When and how this process was started: its flags, and the launcher's table of settings with where each came
    from."""
    table = os.environ.get("OVERLAY_SETTINGS", "").splitlines()
    flags = ["***" if before in SECRET else word for before, word in pairwise(sys.argv)]
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "flags": flags, "launcher": table}


class RunRecord:
    """`run.json` of an output folder. `writes`: this process keeps it; `files`: the data, for people."""

    def __init__(self, output_dir: str, settings: dict[str, Any], writes: bool, files: str = ""):
        self.folder, self.settings, self.writes = Path(output_dir), settings, writes
        self.files = [Path(file).name for file in files.split(":") if file]
        self.rows: dict[str, int] = {}
        self.started: dict[str, Any] | None = started()

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self.folder / RECORD

    def check(self, changed_is_meant: bool) -> None:
        """Compare with the run in the folder, if it has a checkpoint to go on from. SettingError names what differs,
        unless that is meant (--resume_changed true); Finished when it is this run and there is nothing left to do."""
        if changed_is_meant or not last_checkpoint(str(self.folder)) or not self.file.is_file():
            return
        before = json.loads(self.file.read_text(encoding="utf-8"))
        told = list(self._differences(before["settings"]))
        if told:
            more = f" and {len(told) - 4} more" if len(told) > 4 else ""
            raise SettingError(
                f"{self.folder} holds another run ({', '.join(told[:4])}{more}): choose another --output_dir, or say "
                "that it is meant to go on changed with --resume_changed true"
            )
        if before["finished"] is not None and any((self.folder / name).is_file() for name in MODEL_FILES):
            close_at_exit()
            raise Finished(f"{self.folder}: already finished at step {before['finished']}; the model is there")

    def _differences(self, before: dict[str, Any]) -> Iterator[str]:
        for name, value in self.settings.items():
            if name in before and before[name] != value:
                yield f"{name} {before[name]} there, {value} now"

    def _starts(self) -> list[dict[str, Any]]:
        try:
            return json.loads(self.file.read_text(encoding="utf-8")).get("starts", [])
        except (OSError, ValueError):
            return []

    def keep(self, finished: int | None = None) -> None:
        """Write the settings, how each start of the run was asked for, and the step at which it is `finished`."""
        if not self.writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        aside, starts = self.file.with_suffix(".tmp"), self._starts()
        if self.started:
            starts, self.started = [*starts, self.started], None
        content = {"finished": finished, "settings": self.settings, "files": self.files, "rows": self.rows}
        content["starts"] = starts
        text = json.dumps(content, indent=1)
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(self.file)
