"""Command-line arguments of the embedded trainer: TRL's classes plus VLM-R1's flag names, and what cannot work.

Everything impossible is refused here, before a model loads, in one line that says what to change.
"""

import os
from dataclasses import dataclass, field

from trl import GRPOConfig, ModelConfig

from overlay.action.space import SPACES, CoordinateArguments
from overlay.data.budget import MODES, BudgetArguments
from overlay.data.splits import HeldOutArguments
from overlay.errors import SettingError
from overlay.training.refill import DynamicSamplingArguments
from overlay.training.rollout_file import RolloutArguments


@dataclass
class DataArguments(CoordinateArguments, BudgetArguments, HeldOutArguments):
    """What to train on, and how it is shown to the model."""

    data_file_paths: str = field(default="", metadata={"help": "Data files (JSONL), separated by ':'."})
    image_folders: str = field(default="", metadata={"help": "The files' image folders, separated by ':'."})
    arrow_cache_dir: str | None = field(default=None, metadata={"help": "Where Arrow files of the data are kept."})
    val_split_ratio: float = field(default=0.0, metadata={"help": "Share of rows held out for evaluation."})
    reward_funcs: list[str] = field(
        default_factory=lambda: ["accuracy", "format"],
        metadata={"help": "Reward functions by name (overlay.rewards.REWARDS), or a reward model's path."},
    )
    reward_method: str | None = field(
        default=None, metadata={"help": "Method of the accuracy reward for each data file, separated by ':'."}
    )
    task_type: str | None = field(default=None, metadata={"help": "Prompt template: gui, or none for the rows' text."})
    prompt_template: str = field(
        default="zh", metadata={"help": "Template of --task_type gui for rows without one: zh, en or a file."}
    )
    images_first: bool = field(
        default=False, metadata={"help": "VLM-R1's layout: images before the text instead of at their <image> marks."}
    )
    max_pixels: int = field(default=12845056, metadata={"help": "Largest number of pixels of an image."})
    min_pixels: int = field(default=3136, metadata={"help": "Smallest number of pixels of an image."})

    def __post_init__(self) -> None:
        if not self.data_file_paths:
            raise SettingError("--data_file_paths is missing: give one or more JSONL files separated by ':'")
        if not self.image_folders:
            raise SettingError("--image_folders is missing: give one image folder for each data file, separated by ':'")
        if not 0 <= self.val_split_ratio < 1:
            raise SettingError(f"--val_split_ratio {self.val_split_ratio} is not in [0, 1)")
        if self.task_type not in (None, "gui"):
            raise SettingError(f"--task_type {self.task_type!r} is unknown here; use gui, or leave it out")
        if self.coordinate_space not in SPACES:
            raise SettingError(f"--coordinate_space {self.coordinate_space!r} is none of {', '.join(SPACES)}")
        if self.overlong not in MODES:
            raise SettingError(f"--overlong {self.overlong!r} is none of {', '.join(MODES)}")
        if self.min_pixels > self.max_pixels:
            raise SettingError(f"--min_pixels {self.min_pixels} is larger than --max_pixels {self.max_pixels}")


@dataclass
class TrainArguments(RolloutArguments, DynamicSamplingArguments, GRPOConfig):
    """TRL's GRPOConfig with VLM-R1's `max_prompt_length`; completions with their rewards are in rollouts/, so TRL's own
    log of them is off."""

    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Largest prompt in tokens, text and images together; see --overlong."}
    )
    log_completions: bool = field(
        default=False, metadata={"help": "Print each logged step's completions, and keep them as Parquet too."}
    )
    log_multimodal: bool = field(
        default=False, metadata={"help": "Gather the images of all ranks for that log, at every step."}
    )
    report_to: None | str | list[str] = field(  # noqa: RUF036 (the parser reads the first type that is no list)
        default="tensorboard", metadata={"help": "Where metrics go: tensorboard, wandb, none ..."}
    )

    def __post_init__(self) -> None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        per_step = self.per_device_train_batch_size * processes
        accumulated = self.steps_per_generation or self.gradient_accumulation_steps
        total = self.generation_batch_size or per_step * accumulated
        if self.num_generations < 2:
            raise SettingError(f"--num_generations {self.num_generations}: a group needs at least 2 completions")
        if total % self.num_generations:
            raise SettingError(
                f"{processes} processes x batch {self.per_device_train_batch_size} x {accumulated} accumulation "
                f"steps = {total} completions, not divisible by --num_generations {self.num_generations}"
            )
        super().__post_init__()


@dataclass
class ModelArguments(ModelConfig):
    """TRL's ModelConfig with VLM-R1's `freeze_vision_modules`."""

    freeze_vision_modules: bool = field(default=False, metadata={"help": "Keep the vision tower as it is."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model_name_or_path:
            raise SettingError("--model_name_or_path is missing: a model folder or hub name")
