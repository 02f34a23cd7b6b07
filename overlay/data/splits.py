"""Rows to evaluate on while training: files of their own. For both backends."""

from dataclasses import dataclass, field
from typing import Any

from overlay.errors import SettingError


@dataclass(kw_only=True)
class HeldOutArguments:
    """Files of held-out rows; read when `--eval_strategy` asks for evaluation."""

    eval_data_file_paths: str | None = field(
        default=None, metadata={"help": "Held-out data files for --eval_strategy, separated by ':'."}
    )
    eval_image_folders: str | None = field(
        default=None, metadata={"help": "Their image folders, separated by ':'; by default --image_folders."}
    )
    eval_reward_method: str | None = field(
        default=None, metadata={"help": "Their accuracy methods, separated by ':'; by default --reward_method."}
    )


def files_of(args: Any) -> tuple[str, str, str | None] | None:
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
