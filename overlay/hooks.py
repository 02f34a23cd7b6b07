"""The one module that patched upstream lines call. Heavy imports happen inside the calls."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load_dataset(script_args: Any, question_template: str) -> Any:
    """Upstream's training dataset from its own script arguments: data_file_paths, image_folders, reward_method,
    arrow_cache_dir, task_type.

    Rows: prompt (messages), image_path (list), problem, solution (in `<answer>` tags), accu_reward_method, source.
    `--task_type gui` places images at their marks; the other types use upstream's template, images first.
    """
    from overlay.arrow import DataError
    from overlay.dataset import load_dataset as load
    from overlay.examples import PromptStyle, as_rows
    from overlay.prompt import load_template

    try:
        rows = load(
            script_args.data_file_paths, script_args.image_folders, script_args.reward_method,
            script_args.arrow_cache_dir,
        )  # fmt: skip
    except DataError as error:
        raise SystemExit(f"data: {error}") from error
    if script_args.task_type == "gui":
        style = PromptStyle(load_template("zh"))
    else:
        style = PromptStyle(images_first=True, question_template=question_template)
    return as_rows(rows, style)


def extend_rewards(registry: dict[str, Callable]) -> None:
    """Put this project's rewards beside upstream's: `gui_action`; `format_graded` and `format_scaled`; and the method
    gui_action into `accuracy`. Upstream's own names keep their meaning."""
    from overlay.rewards import REWARDS
    from overlay.rewards.accuracy import METHODS

    upstream = registry["accuracy"]
    if getattr(upstream, "extended", False):
        return
    separate_debug_logs()

    def accuracy_reward(completions: list, solution: list[str], **columns: Any) -> list[float]:
        """Upstream's accuracy for its methods, ours for ours."""
        methods = columns["accu_reward_method"]
        if not any(method in METHODS for method in methods):
            return upstream(completions, solution, **columns)
        scores = []
        for i, (completion, gold) in enumerate(zip(completions, solution, strict=True)):
            one = {name: values[i : i + 1] for name, values in columns.items() if isinstance(values, list)}
            function = REWARDS["accuracy"] if methods[i] in METHODS else upstream
            scores += function([completion], solution=[gold], **one)
        return scores

    accuracy_reward.extended = True
    registry["accuracy"] = accuracy_reward
    registry["gui_action"] = REWARDS["gui_action"]
    registry["format_graded"] = REWARDS["format"]
    registry["format_scaled"] = REWARDS["format_scaled"]


def separate_debug_logs() -> None:
    """Give each rank its own debug files under DEBUG_MODE=true: `LOG_PATH` (`debug.txt` when unset) with `.rank<n>`
    before its suffix. Upstream's rewards write to that path, and fail without one."""
    if os.environ.get("DEBUG_MODE") == "true":
        path = Path(os.environ.get("LOG_PATH") or "debug.txt")
        rank = f".rank{os.environ.get('RANK', '0')}"
        if rank not in path.suffixes:
            os.environ["LOG_PATH"] = str(path.with_suffix(rank + (path.suffix or ".txt")))


def trainer_class(base: type) -> type:
    """Upstream's trainer class with what it lacks."""
    from overlay.vlm_trainer import extend

    return extend(base)
