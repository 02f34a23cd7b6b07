"""The one module that patched upstream lines call. Heavy imports happen inside the calls."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial, wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn

from overlay.errors import SettingError, foreign_script, refused_as_settings


def by_model_type(get_vlm_module: Callable[[str], type]) -> Callable[[str], type]:
    """Upstream's choice of a module class, made by the model's config."""
    from overlay.backends.vlm_r1 import script

    return script.by_model_type(get_vlm_module)


def parser(upstream: type, *arguments: type) -> Any:
    """Upstream's parser of its three argument classes (script, trainer, model), with the flags of this project and
    `--torch_dtype`, and a prompt budget only when one is asked for."""
    from overlay.backends.vlm_r1 import script
    from overlay.training.command_line import one_line

    own, trainer, model = arguments
    kind = script.ends_in_one_line(one_line(upstream))
    return script.without_prompt_budget(kind((script_arguments(own), trainer, script.model_arguments(model))))


def prepare(script_args: Any, question_template: str, training_args: Any, model_args: Any) -> tuple[Any, Callable]:
    """(training rows, what makes the trainer) from the stock script's own arguments. Held-out rows and the judge reach
    the trainer from here, so the script's own split has nothing left to do (it has no seed: each rank would draw its
    own rows). Settings that cannot be followed are refused here.

    Rows: prompt (messages), image_path (list), problem, solution (in `<answer>` tags), accu_reward_method, source.
    `--task_type gui` places images at their marks; the other types use upstream's template, images first.
    """
    from overlay.action.completion import ANSWER_TAG
    from overlay.data.splits import prepare as rows_of
    from overlay.model.folder import check_attention, check_model, config_of
    from overlay.model.processor import training_processor
    from overlay.refused import refuse, refuse_by_methods
    from overlay.rewards.accuracy import METHODS
    from overlay.training.identity import RunRecord, settings_of
    from overlay.training.judge_watch import judge_for
    from overlay.training.stopped import not_again
    from overlay.training.style import style_of_run
    from overlay.training.vllm_agreement import check_ahead, check_installed, check_pixels
    from overlay.training.worlds import episodes_or_rows

    asks = "accuracy" in script_args.reward_funcs and not script_args.is_reward_customized_from_vlm_module
    with foreign_script():
        not_again(training_args.output_dir)
        refuse("vlm-r1", script_args, training_args, model_args)
        name, trusted = model_args.model_name_or_path, model_args.trust_remote_code
        own_code = "internvl" in config_of(name)["model_type"].lower()  # upstream's module asks for it
        check_model(name, trusted, own_code)
        check_attention(model_args.attn_implementation)
        own = training_args.process_index == 0
        style = style_of_run(script_args, name, question_template, own)
        pixels = script_args.min_pixels, script_args.max_pixels
        if not style.thinking and "format" in script_args.reward_funcs:
            raise SettingError(
                "--thinking false: --reward_funcs format is VLM-R1's own here, which asks for thinking: use "
                "format_graded or format_scaled"
            )
        if style.answer_format != ANSWER_TAG and "format" in script_args.reward_funcs:
            raise SettingError(
                f"--answer_format {style.answer_format}: --reward_funcs format is VLM-R1's own here, which asks "
                "for <answer>: use format_graded or format_scaled"
            )
        check_ahead(script_args.generate_ahead)
        if training_args.use_vllm:
            check_installed()
            if own_code:
                raise SettingError(f"--use_vllm: not for {config_of(name)['model_type']}, whose images have no grids")
        processor = cache(partial(training_processor, name, *pixels, trusted))
        if not own_code:
            processor()  # what is wrong with it is said before the data is read
        if training_args.use_vllm:
            check_pixels(name, processor())
        methods = METHODS if asks else None
        rows = partial(rows_of, script_args, training_args, style, processor, methods, answer_tags=True)
        splits, world = episodes_or_rows(script_args, script_args, training_args, style, rows)
        settings = settings_of(script_args, training_args, model_args)
        record = RunRecord(training_args.output_dir, settings, own, script_args.data_file_paths)
        record.check(script_args.resume_changed)
        refuse_by_methods(splits.methods, script_args)
        judge = judge_for(script_args, splits.methods)
    script_args.val_split_ratio = 0.0
    return splits.train, trainer_maker(script_args, model_args, splits, judge, record, world)


def trainer_maker(
    script_args: Any, model_args: Any, splits: Any, judge: Any, record: Any, world: Any = None
) -> Callable:
    """What the script calls to make its trainer: ours, whose errors end the script with one line."""
    from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer
    from overlay.rewards import bound

    @wraps(GuiVLMGRPOTrainer, updated=())
    def make(*, reward_funcs: list, **settings: Any) -> Any:
        if splits.held_out is not None:
            settings["eval_dataset"] = splits.held_out
        settings["torch_dtype"] = model_args.torch_dtype  # the script drops what was asked for
        own = settings["args"].model_init_kwargs or {}
        settings["args"].model_init_kwargs = own | {"trust_remote_code": model_args.trust_remote_code}
        with foreign_script(UnpicklingError), refused_as_settings(ValueError, ImportError):
            trainer = GuiVLMGRPOTrainer(
                reward_funcs=bound(reward_funcs, judge, script_args.click_reward, script_args.thinking),
                options=script_args, judge=judge, record_of_run=record, style=splits.style, places=splits.places,
                world=world, order=splits.order, **settings,
            )  # fmt: skip
        trainer.train = foreign_script()(trainer.train)
        return trainer

    return make


def end() -> NoReturn:
    """The last line of upstream's script."""
    from overlay.training.leave import leave

    leave(0)


class Rewards(dict):
    """Upstream's registry; a name with a slash stands for itself, as a reward model's path that the trainer loads."""

    def __missing__(self, name: str) -> str:
        if "/" in name:
            return name
        raise SystemExit(f"--reward_funcs {name}: unknown (known: {', '.join(self)}, or a reward model's path)")


def rewards(upstream: dict[str, Callable]) -> Rewards:
    """Upstream's registry with this project's rewards: `accuracy` with all methods, `gui_action`, `format_graded` and
    `format_scaled`. Upstream's own format, length and repetition keep their names."""
    from overlay.backends.vlm_r1.script import repaired
    from overlay.rewards import REWARDS

    separate_debug_logs()
    own = {name: REWARDS[name] for name in ("accuracy", "gui_action", "format_scaled", "page")}
    return Rewards(repaired(upstream) | own | {"format_graded": REWARDS["format"]})


def script_arguments(upstream: type) -> type:
    """Upstream's script arguments with the flags of this project."""
    from overlay.settings import JudgeArguments, RowArguments, VlmTrainerOptions

    own = (RowArguments, VlmTrainerOptions, JudgeArguments)

    @dataclass
    class ScriptArguments(upstream, *own):
        def __post_init__(self) -> None:
            with foreign_script():
                for part in own:
                    part.__post_init__(self)
            for name in ("data_file_paths", "image_folders"):  # upstream splits them; --episodes live has none
                setattr(self, name, getattr(self, name) or "")

    return ScriptArguments


def separate_debug_logs() -> None:
    """Give each rank its own debug files under DEBUG_MODE=true: `LOG_PATH` (`debug.txt` when unset) with `.rank<n>`
    before its suffix. Upstream's rewards write to that path, and fail without one."""
    if os.environ.get("DEBUG_MODE") == "true":
        path = Path(os.environ.get("LOG_PATH") or "debug.txt")
        rank = f".rank{os.environ.get('RANK', '0')}"
        if rank not in path.suffixes:
            os.environ["LOG_PATH"] = str(path.with_suffix(rank + (path.suffix or ".txt")))
