"""GRPO on GUI steps with TRL's GRPOTrainer: the embedded default, installed from the package index.

Departs from TRL's own script in the data (overlay.data), the prompt (overlay.prompt), the rewards (overlay.rewards) and
the flags, which are VLM-R1's. A run whose output_dir holds a checkpoint goes on from it.

    torchrun --nproc_per_node 2 -m overlay.backends.trl.train --model_name_or_path MODEL --data_file_paths rows.jsonl \
        --image_folders TASKS --reward_method gui_action --output_dir runs/first
"""

from functools import cache, partial
from pickle import UnpicklingError
from typing import Any

from peft import LoraConfig
from transformers import AutoConfig
from trl import TrlParser, get_peft_config, get_quantization_config

from overlay.backends.trl.arguments import ARGUMENTS, ModelArguments, TrainArguments
from overlay.backends.trl.trainer import GuiGRPOTrainer
from overlay.data.splits import prepare
from overlay.errors import SettingError, command, refused_as_settings
from overlay.model.folder import check_attention, check_model
from overlay.model.processor import training_processor
from overlay.model.vision import VISION
from overlay.refused import refuse, refuse_by_methods
from overlay.rewards import REWARDS, bound
from overlay.rewards.accuracy import METHODS
from overlay.rewards.judge.client import Judge
from overlay.settings import DataArguments, JudgeArguments
from overlay.training.command_line import one_line
from overlay.training.identity import RunRecord, settings_of
from overlay.training.judge_watch import judge_for
from overlay.training.leave import leave
from overlay.training.stopped import not_again
from overlay.training.style import style_of_run
from overlay.training.vllm_agreement import check_ahead, check_installed, check_pixels, without_image_tokens
from overlay.training.worlds import episodes_or_rows

ALL = "all-linear"  # PEFT's word for every linear layer but the output's


def select_rewards(
    names: list[str], judge: Judge | None = None, click: str = "box", thinking: bool = True
) -> list[Any]:
    """Reward functions by name; a name with a slash is a reward model's path, loaded by the trainer."""
    unknown = [name for name in names if name not in REWARDS and "/" not in name]
    if unknown:
        raise SettingError(f"--reward_funcs {' '.join(unknown)}: unknown (known: {', '.join(REWARDS)}, or a path)")
    return bound([REWARDS.get(name, name) for name in names], judge, click, thinking)


def adapter_config(model: ModelArguments) -> Any:
    """The adapter that the arguments ask for, or None. Without --lora_target_modules it is on every linear layer
    outside the vision tower, as in VLM-R1; a frozen tower has none whatever is named, for PEFT unfreezes adapters after
    each pass of the reference."""
    config = get_peft_config(model)
    if isinstance(config, LoraConfig):
        if not config.target_modules or model.freeze_vision_modules:
            config.exclude_modules = rf"(.*\.)?{VISION}\..*"
        targets = config.target_modules or ALL
        # TRL makes text of a list of one name, which PEFT takes for a pattern that the whole path must match.
        config.target_modules = [targets] if isinstance(targets, str) and targets.isidentifier() else targets
    return config


def mapping(flag: str, value: Any) -> dict[str, Any]:
    """A flag's JSON object as it was parsed, empty for None. SettingError for other text, which TRL leaves as it is."""
    if not isinstance(value, dict | None):
        raise SettingError(f"--{flag} {value}: not a JSON object")
    return value or {}


def _tied(model: str, trusted: bool) -> bool:
    """Whether a model's output layer is its input embedding."""
    return bool(AutoConfig.from_pretrained(model, trust_remote_code=trusted).tie_word_embeddings)


def train(data: DataArguments, args: TrainArguments, model: ModelArguments, judge: JudgeArguments) -> GuiGRPOTrainer:
    """Train; returns the trainer. Raises SettingError or DataError before the model loads, RunStopped when the run had
    to end early."""
    not_again(str(args.output_dir))
    refuse("trl", data, args, model, judge)
    select_rewards(data.reward_funcs)
    name = model.model_name_or_path
    if not name:
        raise SettingError("--model_name_or_path is missing: give a model folder or hub name")
    check_ahead(args.generate_ahead)
    if args.use_vllm:
        check_installed()
        if not args.vllm_importance_sampling_correction:
            raise SettingError(
                "--vllm_importance_sampling_correction false: without it nothing shows whether vLLM samples from the "
                "prompts that are trained on; leave it on"
            )
    check_model(name, args.trust_remote_code)
    check_attention(model.attn_implementation)
    if args.cast_lm_head_to_fp32 and _tied(name, args.trust_remote_code):  # TRL looks where text models have the other
        raise SettingError(
            f"--cast_lm_head_to_fp32 true: TRL cannot where the output layer is the embedding's, as in {name}"
        )
    first = args.process_index == 0
    style = style_of_run(data, name, says=first)
    processor = cache(partial(training_processor, name, data.min_pixels, data.max_pixels, args.trust_remote_code))
    processor()  # what is wrong with it is said before the data is read
    methods = METHODS if "accuracy" in data.reward_funcs else None
    splits, world = episodes_or_rows(args, data, args, style, partial(prepare, data, args, style, processor, methods))
    record = RunRecord(str(args.output_dir), settings_of(data, args, model, judge), first, data.data_file_paths)
    record.check(data.resume_changed)
    refuse_by_methods(splits.methods, data, args, judge)
    asked = judge_for(judge, splits.methods)
    if args.use_vllm:
        check_pixels(name, processor())
        args.generation_kwargs = without_image_tokens(processor(), mapping("generation_kwargs", args.generation_kwargs))
    args.model_init_kwargs = mapping("model_init_kwargs", args.model_init_kwargs) | {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    }
    with refused_as_settings(ValueError, ImportError):
        trainer = GuiGRPOTrainer(
            model=name,
            args=args,
            reward_funcs=select_rewards(data.reward_funcs, asked, args.click_reward, style.thinking),
            train_dataset=splits.train,
            eval_dataset=splits.held_out,
            processing_class=processor(),
            peft_config=adapter_config(model),
            quantization_config=get_quantization_config(model),
            freeze_vision_modules=model.freeze_vision_modules,
            options=args,
            judge=asked,
            record_of_run=record,
            style=splits.style,
            places=splits.places,
            world=world,
            order=splits.order,
        )
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(args.output_dir)
    trainer.save_state()
    return trainer


@command("train", FileNotFoundError, UnpicklingError)
def main(argv: list[str] | None = None) -> int:
    """Parse the command line and train; impossible settings and bad data give one line and status 2."""
    train(*one_line(TrlParser)(ARGUMENTS).parse_args_and_config(argv))
    return 0


if __name__ == "__main__":
    leave(main())
