"""The one module that patched upstream lines call. Heavy imports happen inside the calls."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@contextmanager
def _refusals() -> Iterator[None]:
    """Settings that cannot work end the run with their one line."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(str(error)) from error


def load_dataset(script_args: Any, question_template: str, training_args: Any, model_args: Any) -> Any:
    """Upstream's training dataset from its own arguments: data_file_paths, image_folders, reward_method,
    arrow_cache_dir, task_type, max_prompt_length.

    Rows: prompt (messages), image_path (list), problem, solution (in `<answer>` tags), accu_reward_method, source.
    `--task_type gui` places images at their marks; the other types use upstream's template, images first. A judge is
    set up when a row asks for one. Settings that this backend cannot follow are refused here.
    """
    from overlay.refused import refuse

    with _refusals():
        refuse("vlm-r1", script_args, training_args, model_args)
    files = script_args.data_file_paths, script_args.image_folders, script_args.reward_method
    return _rows(files, script_args, question_template, training_args, model_args)


def trainer_class(base: type, script_args: Any, question_template: str, training_args: Any, model_args: Any) -> type:
    """Upstream's trainer class with what it lacks, and with the held-out rows of `--eval_data_file_paths`."""
    from overlay.backends.vlm_r1.trainer import extend
    from overlay.data.splits import files_of

    with _refusals():
        files, held_out = files_of(script_args), None
    if files and training_args.eval_strategy != "no":
        held_out = _rows(files, script_args, question_template, training_args, model_args)
    return extend(base, script_args, held_out)


def _rows(files: tuple, script_args: Any, question_template: str, training_args: Any, model_args: Any) -> Any:
    from overlay.action.space import Space
    from overlay.data.budget import fit
    from overlay.data.dataset import load_dataset as load
    from overlay.data.examples import PromptStyle, as_rows
    from overlay.model.processor import load_processor
    from overlay.prompt.template import load_template
    from overlay.rewards.accuracy import METHODS
    from overlay.rewards.judge.client import configure

    asks = "accuracy" in script_args.reward_funcs and not script_args.is_reward_customized_from_vlm_module
    with _refusals():
        space = Space(script_args.coordinate_space, script_args.min_pixels, script_args.max_pixels)
        if script_args.task_type == "gui":
            style = PromptStyle(load_template("zh"), space=space)
        else:
            style = PromptStyle(images_first=True, question_template=question_template, space=space)
        rows = load(*files, script_args.arrow_cache_dir, METHODS if asks else None)
        if asks and "llm" in rows.unique("accu_reward_method"):
            configure(script_args)
        if training_args.max_prompt_length:
            processor = load_processor(model_args.model_name_or_path, script_args.min_pixels, script_args.max_pixels)
            rank = training_args.process_index
            rows = fit(rows, style, processor, training_args.max_prompt_length, script_args.overlong, rank)
    return as_rows(rows, style, answer_tags=True)


class Rewards(dict):
    """Upstream's registry; a name with a slash stands for itself, as a reward model's path that the trainer loads."""

    def __missing__(self, name: str) -> str:
        if "/" in name:
            return name
        raise SystemExit(f"--reward_funcs {name}: unknown (known: {', '.join(self)}, or a reward model's path)")


def rewards(upstream: dict[str, Callable]) -> Rewards:
    """Upstream's registry with this project's rewards: `accuracy` with all methods, `gui_action`, `format_graded` and
    `format_scaled`. Upstream's own format, length and repetition keep their names."""
    from overlay.rewards import REWARDS

    separate_debug_logs()
    own = {name: REWARDS[name] for name in ("accuracy", "gui_action", "format_scaled")}
    return Rewards(upstream | own | {"format_graded": REWARDS["format"]})


def script_arguments(upstream: type) -> type:
    """Upstream's script arguments with the flags of this project."""
    from overlay.action.space import CoordinateArguments
    from overlay.backends.vlm_r1.trainer import VlmTrainerArguments
    from overlay.data.budget import BudgetArguments
    from overlay.data.splits import HeldOutArguments
    from overlay.rewards.judge.settings import JudgeArguments

    own = (JudgeArguments, VlmTrainerArguments, CoordinateArguments, BudgetArguments, HeldOutArguments)

    @dataclass
    class ScriptArguments(upstream, *own):
        def __post_init__(self) -> None:
            with _refusals():
                for part in own:
                    if hasattr(part, "__post_init__"):
                        part.__post_init__(self)

    return ScriptArguments


def separate_debug_logs() -> None:
    """Give each rank its own debug files under DEBUG_MODE=true: `LOG_PATH` (`debug.txt` when unset) with `.rank<n>`
    before its suffix. Upstream's rewards write to that path, and fail without one."""
    if os.environ.get("DEBUG_MODE") == "true":
        path = Path(os.environ.get("LOG_PATH") or "debug.txt")
        rank = f".rank{os.environ.get('RANK', '0')}"
        if rank not in path.suffixes:
            os.environ["LOG_PATH"] = str(path.with_suffix(rank + (path.suffix or ".txt")))
