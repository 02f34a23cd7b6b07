"""Episodes of recorded steps, in the model's own words: `--episodes semi-online` (UI-S1, arXiv 2509.11543).

A rollout's answer that is right by the rule `box` becomes, as the model described it, the history of its next steps.
After a wrong one the recorded action stands in for it, in the recorded words, `--patches` times; then the episode ends.
The screens are the recorded ones either way.
"""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from overlay.action.action import described, parse_action
from overlay.data.dataset import each_row
from overlay.data.splits import prompts_of_a_step
from overlay.data.tasks import episodes_of
from overlay.errors import DataError, SettingError
from overlay.metrics.episodes import reached
from overlay.metrics.flags import gold_action, succeeds
from overlay.metrics.rules.step import screen_of
from overlay.prompt.history import in_own_words, step_of
from overlay.prompt.style import PromptStyle
from overlay.settings import TrainerOptions
from overlay.training.episodes import Rollout, Row
from overlay.training.sampler import EpisodeSampler


class Recorded:
    """One rollout; see `overlay.training.episodes.Rollout`. `steps`: its recorded rows; `patches`: wrong steps after
    which it goes on."""

    def __init__(self, steps: Sequence[Row], style: PromptStyle, patches: int):
        self.steps, self.style, self.patches = steps, style, patches
        self.right, self.lost = list[bool](), ""
        self.said: dict[int, str] = {}

    def due(self) -> Row | None:
        if len(self.right) == len(self.steps) or self.right.count(False) > self.patches:
            return None
        row = self.steps[len(self.right)]
        problem = in_own_words(row["problem"], step_of(row["problem"]), self.said)
        return {**row, "problem": problem, "prompt": self.style.messages(problem, len(row["image_path"]))}

    def done(self) -> float:
        return reached(self.right) / len(self.steps)

    def take(self, completion: str) -> None:
        row, form = self.steps[len(self.right)], self.style.answer_format
        action = parse_action(completion, form)
        right = succeeds(action, gold_action(row["solution"]), screen_of(row)) is not False
        self.right.append(right)
        if right:
            self.said[step_of(row["problem"])] = described(completion, action, form)


class Recordings:
    """A `World` of recorded `episodes` (numbers of their rows), none longer than `slots`. `style`: of the rows'
    prompts."""

    handed_on: str | None = None

    def __init__(self, episodes: list[list[int]], style: PromptStyle, slots: int, patches: int):
        self.episodes, self.style, self.slots, self.patches = episodes, style, slots, patches

    def sampler(self, theirs: Any) -> EpisodeSampler:
        return EpisodeSampler(theirs, self.episodes, self.slots)

    def advance(self) -> None:
        """The screens are there already."""

    def foresee(self, rows: list[int], generations: int) -> None:
        """So are the next ones."""

    def close(self) -> None:
        """Nothing is open."""

    def begin(self, rows: list[Row], generations: int) -> list[Rollout]:
        rollouts: list[Rollout] = []
        for first in range(0, len(rows), self.slots * generations):
            steps = rows[first : first + self.slots * generations : generations]
            own = {row["source"]: row for row in steps}  # slots that it has no step for hold the last one again
            rollouts += [Recorded(list(own.values()), self.style, self.patches) for _ in range(generations)]
        return rollouts


def stretches(steps: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Rows (number, step) of a task, cut where a step is missing: nothing is handed on over a gap.

    >>> stretches([(0, 1), (1, 2), (2, 4)])
    [[0, 1], [2]]
    """
    found: list[list[int]] = []
    for place, (number, step) in enumerate(steps):
        if place and step == steps[place - 1][1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def recordings(options: TrainerOptions, data: Any, training: Any, rows: Dataset, style: PromptStyle) -> Recordings:
    """The recorded episodes of training `rows` (those of `overlay.data.splits.prepare`). `data`: the flags of the data;
    `training`: the trainer's; `style`: that the rows were prepared with. SettingError for sizes that hold no whole
    episodes on a rank, DataError for rows that are no actions."""
    if data.val_split_ratio:
        raise SettingError(
            f"--episodes {options.episodes}: --val_split_ratio holds out steps, not tasks: make split, and give "
            "--eval_data_file_paths"
        )
    plain = rows.with_format(None)
    for row in each_row(plain.select_columns(["solution", "source"])):
        try:
            gold_action(row["solution"])
        except DataError as error:
            raise DataError(f"{row['source']}: {error}; --episodes needs rows that are GUI steps") from error
    slots = options.episode_steps
    tasks = episodes_of(plain, data.data_file_paths, data.image_folders)
    whole = [stretch for steps in tasks for stretch in stretches(steps)]
    episodes = [steps[first : first + slots] for steps in whole for first in range(0, len(steps), slots)]
    check_sizes(options, training, len(episodes))
    return Recordings(episodes, style, slots, options.patches)


def check_sizes(options: TrainerOptions, training: Any, episodes: int) -> None:
    """SettingError for what episodes cannot go with, for batches that hold no whole ones, and for too few."""
    if getattr(training, "use_vllm", False):
        _check_vllm(options, training)
    if options.least_blame < 1:
        raise SettingError(f"--episodes {options.episodes}: not with --least_blame, which is for single steps")
    if (how := getattr(training, "multi_objective_aggregation", "sum_then_normalize")) != "sum_then_normalize":
        raise SettingError(
            f"--episodes {options.episodes}: not with --multi_objective_aggregation {how}; rewards are summed first"
        )
    generated = getattr(training, "generation_batch_size", None)  # VLM-R1 generates for each micro-batch
    on_a_rank = generated // training.world_size if generated else training.per_device_train_batch_size
    episode = options.episode_steps * training.num_generations
    if on_a_rank % episode:
        raise SettingError(
            f"--episodes {options.episodes}: a process generates {on_a_rank} completions at a time, but an episode "
            f"takes --episode_steps {options.episode_steps} x --num_generations {training.num_generations} = {episode}"
            ": give a multiple (trl: batch x accumulation; vlm-r1: the batch, with --tokens_per_pass where it is large)"
        )
    needed = prompts_of_a_step(training) // options.episode_steps
    if episodes < needed:
        raise SettingError(
            f"{episodes} episodes of up to {options.episode_steps} steps (--episode_steps), but one step takes "
            f"{needed}: give more, or lower the batch, --gradient_accumulation_steps or the number of processes"
        )


def _check_vllm(options: TrainerOptions, training: Any) -> None:
    """SettingError where an engine wants the same number of prompts of each rank, or whole groups: an episode asks for
    what is due."""
    own = options if hasattr(options, "vllm_mode") else training  # VLM-R1's are ours
    if getattr(own, "vllm_mode", "colocate") == "server":
        raise SettingError(f"--episodes {options.episodes}: not with --vllm_mode server; give --vllm_mode colocate")
    if (size := getattr(training, "vllm_tensor_parallel_size", 1)) > 1:
        raise SettingError(
            f"--episodes {options.episodes}: not with --vllm_tensor_parallel_size {size}: its ranks have "
            "different numbers of steps to ask for"
        )
