"""Rows to train and to evaluate on, as a trainer takes them: the one way from data files to both trainers.

The held-out rows are those of files of their own (`--eval_data_file_paths`) or a share of the training rows
(`--val_split_ratio`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset

from overlay.action.action import answer_text
from overlay.action.completion import ANSWER_TAG
from overlay.data.budget import fit
from overlay.data.dataset import FLAGS, each_row, load_dataset
from overlay.data.difficulty import within
from overlay.data.examples import as_rows
from overlay.data.lengths import check_sizes, check_space
from overlay.data.order import Order, order_of
from overlay.data.tasks import episodes_of
from overlay.data.templates import style_of_rows
from overlay.errors import DataError, SettingError
from overlay.prompt.style import PromptStyle

HELD_OUT_FLAGS = "--eval_data_file_paths", "--eval_image_folders", "--eval_reward_method"


@dataclass(frozen=True)
class Splits:
    """Training rows, held-out rows where evaluation is asked for, the accuracy methods that occur in them, the style
    with the template that they bring, where held-out rows of files of their own stand (`source` → (task, step)), and
    the order of the training rows where that is not at random."""

    train: Dataset
    held_out: Dataset | None
    methods: frozenset[str]
    style: PromptStyle
    places: dict[str, tuple[int, int]]
    order: Order | None = None


def held_out_files(args: Any) -> tuple[str, str | None, str | None] | None:
    """(files, folders, methods) of the held-out rows, or None. Where folders or methods are not given, the training
    ones serve, one for all files if there is only one. SettingError when rows would be held out twice."""
    if not args.eval_data_file_paths:
        return None
    if args.val_split_ratio:
        raise SettingError("--eval_data_file_paths and --val_split_ratio: choose one")
    count = args.eval_data_file_paths.count(":") + 1

    def spread(own: str | None, training: str | None) -> str | None:
        value = own or training
        return ":".join([value] * count) if value and not own and ":" not in value else value

    folders = spread(args.eval_image_folders, args.image_folders)
    return args.eval_data_file_paths, folders, spread(args.eval_reward_method, args.reward_method)


def prompts_of_a_step(training: Any) -> int:
    """How many prompts one step of the trainer takes, on all its processes."""
    own = training.per_device_train_batch_size * training.world_size * training.gradient_accumulation_steps
    completions = getattr(training, "generation_batch_size", None) or own
    return completions // training.num_generations


def on_episodes(*arguments: Any) -> bool:
    """Whether a run's arguments ask for --episodes."""
    return any(getattr(part, "episodes", "no") != "no" for part in arguments)


def check_enough(rows: int, prompts: int) -> None:
    """SettingError when there are fewer training rows than one step takes: nothing would be trained."""
    if rows < prompts:
        raise SettingError(
            f"{rows} training rows, but one step takes {prompts} prompts: give more rows, or lower the batch, "
            "--gradient_accumulation_steps or the number of processes"
        )


def places_of(rows: Dataset, data: str, images: str) -> dict[str, tuple[int, int]]:
    """(number of its task, step) of each row, by its source."""
    sources = rows["source"]
    tasks = enumerate(episodes_of(rows, data, images))
    return {sources[number]: (task, step) for task, steps in tasks for number, step in steps}


def check_golds(rows: Dataset, answer_format: str) -> None:
    """DataError for the first row whose gold an answer format cannot say: tool calls say actions only."""
    if answer_format == ANSWER_TAG:
        return
    for row in each_row(rows.with_format(None).select_columns(["solution", "source"])):
        try:
            answer_text(row["solution"], answer_format)
        except ValueError as error:
            raise DataError(f"{row['source']}: --answer_format {answer_format}: {error}") from error


def prepare(
    args: Any,
    training: Any,
    style: PromptStyle,
    processor: Callable[[], Any],
    methods: Iterable[str] | None,
    answer_tags: bool = False,
) -> Splits:
    """The rows of a run. `args`: data flags (of `overlay.settings` or VLM-R1's script); `training`: the trainer's
    (eval_strategy, max_prompt_length, seed, process_index); `processor` is made only when it has to measure;
    `methods`: accuracy methods that exist, None when no reward asks for one; `answer_tags`: see `as_rows`.

    Raises DataError or SettingError.
    """
    if not args.data_file_paths:
        raise SettingError("--data_file_paths is missing: give one or more JSONL files separated by ':'")
    if not args.image_folders:
        raise SettingError("--image_folders is missing: give one image folder for each data file, separated by ':'")
    if training.eval_strategy != "no" and not held_out_files(args) and not args.val_split_ratio:
        asked = getattr(training.eval_strategy, "value", training.eval_strategy)
        raise SettingError(
            f"--eval_strategy {asked}: there are no held-out rows: --eval_data_file_paths or --val_split_ratio"
        )
    if style.space.name == "resized":
        check_space(style.space, processor())
    files = {"train": (args.data_file_paths, args.image_folders, args.reward_method)}
    named: dict[str, tuple[str, str, str]] = {"train": FLAGS, "held_out": HELD_OUT_FLAGS}
    held_out = held_out_files(args)
    if held_out and training.eval_strategy != "no":
        files["held_out"] = held_out
    rows = {
        name: load_dataset(
            *paths, args.arrow_cache_dir, methods, named[name], style.history_screens, style.history_crop
        )
        for name, paths in files.items()
    }
    own = style_of_rows(style, rows["train"])
    style = own if style.template is not None else replace(own, template=None)  # in their language, what notes it adds
    for part in rows.values():
        check_golds(part, style.answer_format)
    used = frozenset(name for part in rows.values() for name in part.unique("accu_reward_method")) if methods else ()
    if training.max_prompt_length:
        limit = training.max_prompt_length, args.overlong, training.process_index
        made = processor()
        rows = {name: fit(part, style, made, *limit) for name, part in rows.items()}
    elif training.process_index == 0:  # the others end with it
        for part in rows.values():
            check_sizes(part)
    if args.val_split_ratio:
        parts = rows["train"].train_test_split(test_size=args.val_split_ratio, seed=training.seed)
        rows = {"train": parts["train"]}
        if training.eval_strategy != "no":
            rows["held_out"] = parts["test"]
    if args.difficulty is not None:
        rows["train"] = within(rows["train"], args.difficulty, training.process_index == 0)
    order = order_of(args, rows["train"], training.seed)
    if not on_episodes(args, training):  # which are counted otherwise
        check_enough(len(rows["train"]), prompts_of_a_step(training))
    elif order is not None:
        raise SettingError("--episodes: not with --data_weights or --curriculum_epochs, which are for single steps")
    places = {}
    if held_out and "held_out" in rows:
        places = places_of(rows["held_out"], held_out[0], held_out[1] or args.image_folders)
    views = {name: as_rows(part, style, answer_tags) for name, part in rows.items()}
    return Splits(views["train"], views.get("held_out"), frozenset(used), own, places, order)
