"""What upstream's script (`grpo_jsonl.py`) gets back for its own functions and classes, defects mended."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from overlay.errors import SettingError, foreign_script

Reward = Callable[..., list[float]]


def by_model_type(choose: Callable[[str], type]) -> Callable[[str], type]:
    """Upstream's get_vlm_module, asked with the model's type instead of its path.

    Symptom: a folder named after another model gets its module, and one with no name in its path none. Drop when
    upstream reads the config.
    """

    @wraps(choose)
    def get_vlm_module(model_name_or_path: str) -> type:
        from overlay.model.folder import config_of

        with foreign_script():
            kind = config_of(model_name_or_path)["model_type"]
            try:
                return choose(kind)
            except ValueError as error:
                raise SettingError(f"--model_name_or_path {model_name_or_path}: VLM-R1 trains no {kind}") from error

    return get_vlm_module


def model_arguments(upstream: type) -> type:
    """Upstream's model arguments with the `--torch_dtype` that its launch scripts give, and `--trust_remote_code`:
    newer TRL has no such flags there. Drop the first when upstream passes the dtype on."""

    @dataclass
    class ModelArguments(upstream):
        torch_dtype: str | None = "bfloat16"
        trust_remote_code: bool = field(
            default=False, metadata={"help": "Run Python that comes with the model (InternVL's does)."}
        )

    return ModelArguments


def ends_in_one_line(parser: type) -> type:
    """A parser class whose errors of the user's end the script with one line."""

    class Parser(parser):
        def parse_args_and_config(self, *args: Any, **options: Any) -> Any:
            with foreign_script():
                return super().parse_args_and_config(*args, **options)

    return Parser


def without_prompt_budget(parser: Any) -> Any:
    """Upstream's parser, with no prompt budget unless one is asked for.

    Upstream's `max_prompt_length` is 512 by default and then ignored with a warning. The rows' hook keeps to it, so the
    default must be none: two screenshots alone are longer. Drop when upstream reads the setting.
    """
    parser.set_defaults(max_prompt_length=None)
    warnings.filterwarnings("ignore", "Setting max_prompt_length is currently not supported")
    return parser


def repaired(registry: dict[str, Reward]) -> dict[str, Reward]:
    """Upstream's reward registry with its `length` and `repetition` mended. KeyError when one is gone."""
    _replace(registry["length"], "cosine_reward", cosine_reward)
    return registry | {name: row_by_row(registry[name]) for name in ("length", "repetition")}


def row_by_row(function: Reward) -> Reward:
    """A reward that scores its rows one by one, called with one row at a time.

    Symptom: the records that it writes under DEBUG_MODE name the first row's image and problem for all. Drop when
    upstream indexes the row.
    """

    @wraps(function)
    def reward(completions: list, **columns: list) -> list[float]:
        rows = [{name: values[n : n + 1] for name, values in columns.items()} for n in range(len(completions))]
        return [function(completions=completions[n : n + 1], **row)[0] for n, row in enumerate(rows)]

    return reward


def cosine_reward(content: str, tokenizer: Any, acc_reward: float, **columns: Any) -> float:
    """Upstream's reward of a completion's length (arXiv 2502.03373): 1 falling to 0.5 at 1,024 tokens for a right
    answer, -0.5 rising to 0 for a wrong one.

    Symptom: upstream overwrites `acc_reward` with 1.0, so wrong answers are rewarded as right ones. Drop when it does
    not.
    """
    share = (1 - math.cos(len(tokenizer.encode(content)) * math.pi / 1024)) / 2
    return 1.0 - 0.5 * share if acc_reward >= 0.7 else -0.5 + 0.5 * share


def _replace(user: Callable, name: str, value: Any) -> None:
    """Rebind a name of the module that `user` is of. TypeError when it is gone."""
    if name not in user.__globals__:
        raise TypeError(f"upstream's script has no {name} any more: overlay/backends/vlm_r1/script.py must follow")
    user.__globals__[name] = value
