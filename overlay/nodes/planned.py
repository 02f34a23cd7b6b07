"""A run as its command line says, before it is started: what its flags ask for, its rows and how long prompts are."""

import argparse
import math
from dataclasses import dataclass, replace

from datasets import Dataset

from overlay.action.space import LEAST_PIXELS
from overlay.data.dataset import load_dataset
from overlay.data.difficulty import within
from overlay.data.lengths import prompt_lengths
from overlay.data.splits import check_enough, prompts_of_a_step
from overlay.data.templates import style_of_rows
from overlay.errors import DataError, SettingError
from overlay.model.cost import Cluster, Step, checkpoint_bytes, memory, step_seconds
from overlay.model.processor import training_processor
from overlay.model.sizes import Sizes, sizes_of
from overlay.settings import DataArguments, check_crop
from overlay.training.style import style_of_run

MEASURED = 400  # rows, spread over all


@dataclass(frozen=True)
class Run:
    """A run as its command line says: `step` with the longest lengths, rows and prompts as measured."""

    step: Step
    sizes: Sizes
    rows: int
    lengths: str  # where the prompts' lengths are from
    mean: float
    longest: float
    answer: int
    steps: int
    adapters: bool
    save_steps: int
    kept: int | None
    checkpoint: float
    rollouts: float

    def seconds(self, cluster: Cluster) -> dict[str, float]:
        """Of a step, by phase."""
        return step_seconds(replace(self.step, prompt=self.mean), cluster)

    def memory(self) -> dict[str, float]:
        """Bytes on a GPU, by part."""
        return memory(self.step, self.sizes, self.adapters, self.longest, self.answer)


def flags_of(line: list[str]) -> dict[str, list[str]]:
    """The flags of a command line with their values, the last of each."""
    found: dict[str, list[str]] = {}
    for word in line:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = [value] if equals else []
        elif found:
            next(reversed(found.values())).append(word)
    return found


class Flags:
    """Values of flags by name, with the trainers' defaults. SettingError for what is no number."""

    def __init__(self, line: list[str]):
        self.found = flags_of(line)

    def text(self, name: str, default: str = "") -> str:
        return " ".join(self.found.get(name) or [default])

    def number(self, name: str, default: float) -> float:
        try:
            return float(self.text(name, str(default)))
        except ValueError as error:
            raise SettingError(f"--{name} {self.text(name)}: not a number") from error

    def count(self, name: str, default: int, least: int = 0) -> int:
        value = self.number(name, default)
        if value < least or value != int(value):
            raise SettingError(f"--{name} {value:g}: a whole number of at least {least}")
        return int(value)

    def on(self, name: str, default: bool) -> bool:
        return self.text(name, str(default)).lower() in ("true", "1", "yes", "")


def _rows(flags: Flags, history: int, crop: float) -> Dataset:
    """The rows to train on, with `history` earlier screens, cropped to `crop`."""
    rows = load_dataset(
        flags.text("data_file_paths"), flags.text("image_folders"), history=history, crop=crop,
        cache_dir=flags.text("arrow_cache_dir") or None,
    )  # fmt: skip
    return within(rows, flags.text("difficulty"), says=False) if "difficulty" in flags.found else rows


def measured(flags: Flags, model: str) -> tuple[int, list[int] | None, str]:
    """(rows, prompt lengths of some or None, where they are from). Raises DataError for broken data, SettingError
    for what no run takes."""
    limits = flags.count("min_pixels", LEAST_PIXELS, 1), flags.count("max_pixels", 12_845_056, 1)
    args = DataArguments(
        coordinate_space=flags.text("coordinate_space", "auto"), min_pixels=limits[0], max_pixels=limits[1],
        overlong=flags.text("overlong", "fail"),
        prompt_template=flags.text("prompt_template") or None, task_type="gui",
        thinking=flags.on("thinking", True) if "thinking" in flags.found else None,
        answer_format=flags.text("answer_format") or None,
        history_screens=flags.count("history_screens", 0) if "history_screens" in flags.found else None,
        history_crop=flags.number("history_crop", 0.0) if "history_crop" in flags.found else None,
    )  # fmt: skip
    check_crop(args.history_crop or 0.0)
    try:
        style = style_of_run(args, model, says=False)
        processor = training_processor(model, args.min_pixels, args.max_pixels)
    except SettingError as error:
        return len(_rows(flags, args.history_screens or 0, args.history_crop or 0.0)), None, f"the budget, for {error}"
    rows = _rows(flags, style.history_screens, style.history_crop)
    some = rows.select(range(0, len(rows), -(-len(rows) // MEASURED)))
    return len(rows), prompt_lengths(some, style_of_rows(style, some), processor), f"{len(some)} rows"


def read(line: list[str], nodes: int, processes: int) -> Run:
    """The run that a command line starts. Raises SettingError or DataError."""
    flags = Flags(line)
    if flags.text("episodes", "no") != "no":
        raise SettingError(
            "--episodes: an estimate counts rows one by one; leave the flag out, it costs at most as much"
        )
    model = flags.text("model_name_or_path")
    adapters = flags.on("use_peft", False)
    sizes = sizes_of(model)
    rank = flags.count("lora_r", 16, 1) if adapters else 0
    trained = sizes.trainable(flags.on("freeze_vision_modules", False), rank)
    total = sizes.total + rank * sizes.adapter
    rows, lengths, source = measured(flags, model)
    budget = flags.count("max_prompt_length", 0)
    if lengths is None and not budget:
        raise SettingError(f"prompts cannot be measured ({source}) and there is no --max_prompt_length")
    fitting = [length for length in lengths or [budget] if length <= budget or not budget]
    if not fitting:
        raise DataError(f"no prompt is within --max_prompt_length {budget}")
    if lengths and flags.text("overlong", "fail") == "filter":
        rows = round(rows * len(fitting) / len(lengths))
    answer, batch = flags.count("max_completion_length", 256, 1), flags.count("per_device_train_batch_size", 8, 1)
    step = Step(
        nodes, processes, batch, flags.count("num_generations", 8, 2), max(fitting), answer,
        total, sizes.active, trained,
        accumulation=flags.count("gradient_accumulation_steps", 1, 1),
        shared=flags.on("share_prompts", True) and sizes.packs,
        reference=flags.number("beta", 0.0) > 0, old=flags.count("num_iterations", 1, 1) > 1,
        checkpointing=flags.on("gradient_checkpointing", False), zero="deepspeed" in flags.found,
        judged="llm" in flags.text("reward_method").split(":"),
    )  # fmt: skip
    training = argparse.Namespace(
        per_device_train_batch_size=batch, world_size=step.world, gradient_accumulation_steps=step.accumulation,
        num_generations=step.generations,
    )  # fmt: skip
    check_enough(rows, prompts_of_a_step(training))
    steps = flags.count("max_steps", 0) if flags.number("max_steps", -1) > 0 else 0
    steps = steps or math.ceil(flags.number("num_train_epochs", 3) * (rows // prompts_of_a_step(training)))
    made = checkpoint_bytes(step, adapters, flags.on("sync_ref_model", False), flags.on("save_only_model", False))
    kept = flags.count("save_total_limit", 0) or None
    return Run(
        step, sizes, rows, source, sum(fitting) / len(fitting), max(fitting), answer, steps, adapters,
        flags.count("save_steps", 500, 1), kept, made, flags.number("rollout_log_mb", 50.0) * 1e6 * step.world,
    )  # fmt: skip
