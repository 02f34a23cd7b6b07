"""Command-line arguments of the TRL backend: TRL's own classes with VLM-R1's flag names, beside `overlay.settings`.

Everything impossible is refused here, before a model loads, in one line that says what to change.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig, ModelConfig

from overlay.errors import SettingError
from overlay.settings import DataArguments, JudgeArguments, TrainerOptions, one_of

# TRL looks at the name in the middle of the first step (grpo_trainer.py, _compute_loss).
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


@dataclass
class TrainArguments(TrainerOptions, GRPOConfig):
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
    use_bias_correction_kl: bool = field(
        default=False,
        metadata={"help": "Multiply the KL term by the importance ratio (TRL's default; VLM-R1 has no such thing)."},
    )
    report_to: None | str | list[str] = field(  # noqa: RUF036 (the parser reads the first type that is no list)
        default="tensorboard", metadata={"help": "Where metrics go: tensorboard, wandb, none ..."}
    )

    def __post_init__(self) -> None:
        self.check()
        one_of("loss_type", self.loss_type, LOSSES)
        one_of("importance_sampling_level", self.importance_sampling_level, ("token", "sequence"))
        if self.log_completions and (self.episodes != "no" or self.least_blame < 1 or self.dynamic_sampling):
            raise SettingError(
                "--log_completions: its table has the advantages from before --episodes, --least_blame and "
                "--dynamic_sampling change them: leave it out, make rollouts RUN= shows those that are trained with"
            )
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        per_step = self.per_device_train_batch_size * processes
        accumulated = self.steps_per_generation or self.gradient_accumulation_steps
        total = self.generation_batch_size or per_step * accumulated
        if self.num_generations is None or self.num_generations < 2:
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


ARGUMENTS: tuple[Any, ...] = (DataArguments, TrainArguments, ModelArguments, JudgeArguments)
