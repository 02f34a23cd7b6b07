"""Command-line arguments of supervised training: transformers' own, the data flags and TRL's model flags of GRPO."""

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from overlay.backends.trl.arguments import ModelArguments
from overlay.errors import SettingError
from overlay.settings import DataArguments


@dataclass
class SftArguments(TrainingArguments):
    """TrainingArguments with what supervised training asks beside."""

    num_generations = 1  # a step takes as many prompts as rows

    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Largest prompt in tokens, text and images together; see --overlong."}
    )
    answer_weight: float = field(
        default=1.0, metadata={"help": "Weight of an answer's tokens in the loss, where one of the thinking counts 1."}
    )
    direct_share: float = field(
        default=0.0,
        metadata={"help": "Share of the rows with thinking that are answered without it; rows without it always are."},
    )
    share_prompts: bool = field(
        default=True, metadata={"help": "Compute a batch as one row without padding, and only the logits it needs."}
    )
    tokens_per_pass: int = field(
        default=0, metadata={"help": "Most tokens of a pass through the model; 0: the whole batch is one."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Rows are read whole."})
    report_to: None | str | list[str] = field(  # noqa: RUF036 (the parser reads the first type that is no list)
        default="tensorboard", metadata={"help": "Where metrics go: tensorboard, wandb, none ..."}
    )

    def __post_init__(self) -> None:
        if self.answer_weight <= 0:
            raise SettingError(f"--answer_weight {self.answer_weight}: it must be above 0")
        if not 0 <= self.direct_share <= 1:
            raise SettingError(f"--direct_share {self.direct_share} is not between 0 and 1")
        if self.tokens_per_pass < 0:
            raise SettingError(f"--tokens_per_pass {self.tokens_per_pass}: give a number of tokens, or 0 for no limit")
        if self.gradient_checkpointing and not self.gradient_checkpointing_kwargs:
            self.gradient_checkpointing_kwargs = {"use_reentrant": False}  # the other needs inputs with a gradient
        super().__post_init__()


ARGUMENTS: tuple[Any, ...] = (DataArguments, SftArguments, ModelArguments)
