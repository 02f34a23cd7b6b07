"""GRPO on GUI steps with TRL's GRPOTrainer: the embedded default, installed from the package index.

Departs from TRL's own script in the data (overlay.data.dataset), the prompt (overlay.prompt.template), the rewards
(overlay.rewards) and the flags, which are VLM-R1's. A run whose output_dir holds a checkpoint goes on from it.

    torchrun --nproc_per_node 2 -m overlay.backends.trl.train --model_name_or_path MODEL --data_file_paths rows.jsonl \
        --image_folders TASKS --reward_method gui_action --output_dir runs/first
"""

import sys

from trl import TrlParser, get_peft_config, get_quantization_config

from overlay.action.space import Space
from overlay.backends.trl.arguments import DataArguments, ModelArguments, TrainArguments
from overlay.backends.trl.trainer import GuiGRPOTrainer
from overlay.backends.trl.vllm_agreement import check_pixels, without_image_tokens
from overlay.data.budget import fit
from overlay.data.dataset import load_dataset
from overlay.data.examples import PromptStyle, as_rows
from overlay.data.splits import files_of
from overlay.errors import DataError, SettingError
from overlay.model.processor import load_processor
from overlay.prompt.template import LANGUAGES, load_template
from overlay.refused import refuse
from overlay.rewards import REWARDS
from overlay.rewards.accuracy import METHODS
from overlay.rewards.judge.client import configure
from overlay.rewards.judge.settings import JudgeArguments

ARGUMENTS = (DataArguments, TrainArguments, ModelArguments, JudgeArguments)


def prompt_style(data: DataArguments) -> PromptStyle:
    """The prompt style that the arguments ask for."""
    language = data.prompt_template if data.prompt_template in LANGUAGES else "zh"
    template = load_template(data.prompt_template) if data.task_type == "gui" else None
    space = Space(data.coordinate_space, data.min_pixels, data.max_pixels)
    return PromptStyle(template, language, data.images_first, space=space)


def select_rewards(names: list[str]) -> list:
    """Reward functions by name; a name with a slash is a reward model's path, loaded by the trainer."""
    unknown = [name for name in names if name not in REWARDS and "/" not in name]
    if unknown:
        raise SettingError(f"--reward_funcs {' '.join(unknown)}: unknown (known: {', '.join(REWARDS)}, or a path)")
    return [REWARDS.get(name, name) for name in names]


def main(data: DataArguments, args: TrainArguments, model: ModelArguments, judge: JudgeArguments) -> GuiGRPOTrainer:
    """Train; returns the trainer. Raises SettingError or DataError before the model loads, RunStopped when the run
    had to end early."""
    refuse("trl", data, args, model)
    rewards, style = select_rewards(data.reward_funcs), prompt_style(data)
    methods = METHODS if "accuracy" in data.reward_funcs else None
    files = {"train": (data.data_file_paths, data.image_folders, data.reward_method)}
    if args.eval_strategy != "no" and files_of(data):
        files["test"] = files_of(data)
    splits = {name: load_dataset(*paths, data.arrow_cache_dir, methods) for name, paths in files.items()}
    if methods and any("llm" in rows.unique("accu_reward_method") for rows in splits.values()):
        configure(judge)
    try:
        processor = load_processor(model.model_name_or_path, data.min_pixels, data.max_pixels)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise SettingError(f"--model_name_or_path {model.model_name_or_path}: {first}") from error
    if args.use_vllm:
        check_pixels(model.model_name_or_path, processor)
        args.generation_kwargs = without_image_tokens(processor, args.generation_kwargs)
    if args.max_prompt_length:
        limit = args.max_prompt_length, data.overlong, args.process_index
        splits = {name: fit(rows, style, processor, *limit) for name, rows in splits.items()}
    if data.val_split_ratio:
        splits = splits["train"].train_test_split(test_size=data.val_split_ratio, seed=args.seed)
    args.model_init_kwargs = (args.model_init_kwargs or {}) | {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    }
    trainer = GuiGRPOTrainer(
        model=model.model_name_or_path,
        args=args,
        reward_funcs=rewards,
        train_dataset=as_rows(splits["train"], style),
        eval_dataset=as_rows(splits["test"], style) if "test" in splits else None,
        processing_class=processor,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        freeze_vision_modules=model.freeze_vision_modules,
        rollout_log_mb=args.rollout_log_mb,
        dynamic_sampling=args.dynamic_sampling,
    )
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(args.output_dir)
    trainer.save_state()
    return trainer


def cli() -> int:
    """Parse the command line and train; impossible settings and bad data give one line and status 2."""
    try:
        parser = TrlParser(ARGUMENTS)
        main(*parser.parse_args_and_config())
    except (SettingError, DataError, FileNotFoundError) as error:
        print(f"overlay.backends.trl.train: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(cli())
