"""Supervised warm start on GUI steps: rows, prompts, model flags and launcher of GRPO, which goes on from its output.

A row's completion is its `thinking`, where it brings some, and its gold action; the loss is that of the completion's
tokens. A run whose output_dir holds a checkpoint goes on from it.

    torchrun --nproc_per_node 2 -m overlay.backends.sft.train --model_name_or_path MODEL --data_file_paths rows.jsonl \
        --image_folders TASKS --task_type gui --output_dir runs/sft          (make sft)
"""

import sys
from dataclasses import replace
from functools import cache, partial
from pickle import UnpicklingError
from typing import Any

from datasets import Dataset
from peft import get_peft_model
from transformers import AutoModelForImageTextToText
from trl import TrlParser, get_quantization_config

from overlay.backends.sft.arguments import ARGUMENTS, SftArguments
from overlay.backends.sft.trainer import SftTrainer
from overlay.backends.trl.arguments import ModelArguments
from overlay.backends.trl.train import adapter_config
from overlay.data.dataset import batches
from overlay.data.lengths import BATCH
from overlay.data.splits import prepare
from overlay.errors import DataError, command
from overlay.model.folder import check_model
from overlay.model.processor import training_processor
from overlay.model.vision import freeze_vision
from overlay.prompt.style import PromptStyle
from overlay.refused import defaults, refuse
from overlay.settings import DataArguments
from overlay.training.command_line import one_line
from overlay.training.identity import RunRecord, settings_of
from overlay.training.leave import leave
from overlay.training.stopped import not_again
from overlay.training.style import style_of_run


def load_model(model: ModelArguments) -> Any:
    """The model that the arguments ask for, with its adapter, its tower frozen or not."""
    made = AutoModelForImageTextToText.from_pretrained(
        str(model.model_name_or_path), revision=model.model_revision, attn_implementation=model.attn_implementation,
        dtype=model.dtype, quantization_config=get_quantization_config(model), trust_remote_code=False,
    )  # fmt: skip
    made.config.use_cache = False
    adapter = adapter_config(model)
    if adapter is not None:
        made = get_peft_model(made, adapter)
    if model.freeze_vision_modules:
        freeze_vision(made)
    return made


def style_of_completions(style: PromptStyle, rows: Dataset, args: SftArguments, says: bool) -> PromptStyle:
    """The style with which the model is asked that was trained so: without thinking where no row's completion has
    any. DataError where flags are about thinking that no row has."""
    texts = batches(rows.with_format(None).select_columns("thinking"), BATCH)
    some = style.thinking and any(any(batch["thinking"]) for batch in texts)
    for flag in ("direct_share", "answer_weight"):
        if not some and getattr(args, flag) != defaults(SftArguments)[flag]:
            raise DataError(f"--{flag}: needs rows with thinking, and none has any (make think gives them some)")
    if not style.thinking or (args.direct_share < 1 and some):
        return style
    if says:
        print("no row is answered with thinking, so none is asked for it (--thinking false)", file=sys.stderr)
    return replace(style, thinking=False)


def train(data: DataArguments, args: SftArguments, model: ModelArguments) -> SftTrainer:
    """Train; returns the trainer. Raises SettingError or DataError before the model loads, RunStopped when the run had
    to end early."""
    not_again(str(args.output_dir))
    refuse("sft", data, args, model)
    name = str(model.model_name_or_path)
    check_model(name, trusted=False)
    first = args.process_index == 0
    style = style_of_run(data, name, says=first)
    processor = cache(partial(training_processor, name, data.min_pixels, data.max_pixels))
    processor()  # what is wrong with it is said before the data is read
    splits = prepare(data, args, style, processor, None)
    style = style_of_completions(splits.style, splits.train, args, first)
    record = RunRecord(str(args.output_dir), settings_of(data, args, model), first, data.data_file_paths)
    record.check(data.resume_changed)
    trainer = SftTrainer(
        model=load_model(model), args=args, train_dataset=splits.train, eval_dataset=splits.held_out,
        processing_class=processor(), record_of_run=record, style=style, order=splits.order,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(args.output_dir)
    trainer.save_state()
    return trainer


@command("sft", FileNotFoundError, UnpicklingError)
def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; impossible settings and bad data give one line and status 2."""
    train(*one_line(TrlParser)(ARGUMENTS).parse_args_and_config(argv))
    return 0


if __name__ == "__main__":
    leave(main())
