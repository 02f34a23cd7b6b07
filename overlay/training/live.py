"""Episodes on pages in a browser: `--episodes live`. The page's own verdict is the reward `page`.

An episode is a task and a seed; its rollouts begin alike. Each sees, says and acts on a page of its own, with the
prompt of any row: the screens are kept under their digest in the run's folder, so that the rollouts page has them and
equal screens are one image. An episode ends with the page's verdict, when the model says that it is done, or after
`--episode_steps` steps. A page that fails, hangs or whose browser dies ends that rollout, which then has no reward.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

from datasets import Dataset

from overlay.action.action import Action, described, parse_action
from overlay.data.examples import example_columns
from overlay.errors import SettingError
from overlay.live.environment import Goal, Lost, Seen, input_of
from overlay.live.fleet import Command, Fleet
from overlay.live.kinds import pages_of
from overlay.live.worker import STRIDE
from overlay.metrics.flags import FINAL_TYPES
from overlay.metrics.rules.step import screen_of
from overlay.prompt.crop import Point, landed
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template, render_question
from overlay.settings import TrainerOptions
from overlay.training.episodes import Rollout, Row
from overlay.training.sampler import EpisodeSampler
from overlay.training.semi_online import check_sizes

SCREENS = "screens"  # folder of a run
BEGUN = 3  # tries to begin an episode alike in all its rollouts
UNLIKE = "it did not begin as the episode's other rollouts did"


class LiveRollout:
    """One rollout; see `overlay.training.episodes.Rollout`. `name`: of its task; `screens`: where they are kept."""

    def __init__(self, name: str, style: PromptStyle, screens: Path):
        self.name, self.style, self.folder = name, style, screens
        self.seed: int | None = None  # that is played
        self.right, self.lost, self.reward = list[bool](), "", 0.0
        self.goal: Goal | None = None
        self.over = True  # until the page is there
        self.final = False  # it has said that the task is done, or impossible
        self.wanted: Action | None = None  # what the page is still to do
        self.rows: list[Row] = []
        self.history: list[str] = []
        self.screens: list[str] = []
        self.points: list[Point | None] = []  # where on each of them the model's action landed

    def seen(self, seen: Seen | Lost) -> None:
        """What the page shows, at first or after an action."""
        self.wanted = None
        if isinstance(seen, Lost):
            self.lost = seen.reason
            self._end(None)
            return
        if seen.goal is not None:
            self.goal, self.seed, self.over = seen.goal, seen.seed, False
        if self.final:
            self._end(seen.reward or 0.0)  # a page that judges by itself has said so before
            return
        self._keep(seen.screen)
        if seen.reward is not None:
            self._end(seen.reward)

    def due(self) -> Row | None:
        if self.over or self.goal is None:
            return None
        if self.right:
            self.right[-1] = True  # there is a step after it
        template = self.style.template or load_template(self.style.language)
        source = f"{self.name}-{self.seed}/{Path(self.screens[-1]).stem}"
        problem = render_question(template, input_of(self.goal, self.history, self.screens), self.style.language)
        earlier = self.style.earlier(self.screens, self.points)
        row = {
            "problem": problem, "solution": "", "image": [*earlier, *self.screens[-2:]],
            "accu_reward_method": "page", "elements": None, "group": "", "thinking": "", "source": source,
        }  # fmt: skip
        columns = example_columns({name: [value] for name, value in row.items()}, self.style)
        self.rows.append({name: values[0] for name, values in columns.items()} | {"page_reward": 0.0})
        return self.rows[-1]

    def take(self, completion: str) -> None:
        form = self.style.answer_format
        action = parse_action(completion, form)
        self.history.append(described(completion, action, form))
        self.right.append(False)
        if action is not None and action.type in FINAL_TYPES:
            self.wanted, self.final = action, True
        else:
            self.wanted = screen_of(self.rows[-1]).pixels(action)
            self.points.append(landed(self.wanted))
            if self.wanted is None:  # nothing to do: it sees the same screen again
                self.screens.append(self.screens[-1])

    def done(self) -> float:
        return max(0.0, self.reward)

    def _end(self, reward: float | None) -> None:
        self.over, self.reward = True, reward or 0.0
        for row in self.rows:
            row["page_reward"] = None if reward is None else 0.0
        if self.rows:
            self.rows[-1]["page_reward"] = reward
            self.right[-1] = reward == 1

    def _keep(self, screen: bytes) -> None:
        path = self.folder / f"{hashlib.sha256(screen).hexdigest()[:16]}.png"
        if not path.exists():
            aside = path.with_suffix(f".{os.getpid()}.tmp")
            aside.write_bytes(screen)
            aside.replace(path)
        self.screens.append(str(path))


class LivePages:
    """A `World` of pages. `fleet`: what they are open in; `screens`: a folder for what they show."""

    handed_on: str | None = "page_reward"

    def __init__(self, seeds: Dataset, style: PromptStyle, slots: int, fleet: Fleet, screens: Path):
        self.seeds, self.style, self.slots, self.fleet, self.folder = seeds, style, slots, fleet, screens
        self.rollouts: list[LiveRollout] = []
        self.foreseen: dict[int, Command] | None = None  # resets that are under way

    def sampler(self, theirs: Any) -> EpisodeSampler:
        return EpisodeSampler(theirs, [[number] for number in range(len(self.seeds))], self.slots)

    def begin(self, rows: list[Row], generations: int) -> list[Rollout]:
        self.folder.mkdir(parents=True, exist_ok=True)
        drawn = [row for row in rows[:: self.slots * generations] for _ in range(generations)]
        self.rollouts = [self._rollout(row["task"]) for row in drawn]
        self._tell(self._begun(_resets(drawn)))
        for tried in range(1, BEGUN):
            wanted = self._unlike(drawn, generations, tried)
            if not wanted:
                break
            for number in wanted:
                self.rollouts[number] = self._rollout(drawn[number]["task"])
            self._tell(self.fleet.do({n: ("reset", (drawn[n]["task"], seed)) for n, seed in wanted.items()}))
        for number in self._unlike(drawn, generations, BEGUN):
            self.rollouts[number].seen(Lost(self.rollouts[number].lost or UNLIKE))
        return list(self.rollouts)

    def foresee(self, rows: list[int], generations: int) -> None:
        drawn = [self.seeds[number] for number in rows[:: self.slots] for _ in range(generations)]
        self.foreseen = _resets(drawn)
        self.fleet.start(self.foreseen)

    def _begun(self, resets: dict[int, Command]) -> dict[int, Seen | Lost]:
        """What the pages show that were reset while the model was trained, or are now."""
        foreseen, self.foreseen = self.foreseen, None
        if foreseen is not None:
            found = self.fleet.finish()
            if foreseen == resets:
                return found
        return self.fleet.do(resets)

    def _rollout(self, task: str) -> LiveRollout:
        return LiveRollout(f"{self.fleet.kind}/{task}", self.style, self.folder)

    def _unlike(self, drawn: list[Row], generations: int, tried: int) -> dict[int, int]:
        """Which rollouts have to begin again, and the seed: the one that most of their episode play, or the next one
        where none could begin after it was `tried` so often."""
        found = {}
        for first in range(0, len(drawn), generations):
            group = range(first, first + generations)
            seeds = Counter(seed for number in group if (seed := self.rollouts[number].seed) is not None)
            seed = seeds.most_common(1)[0][0] if seeds else drawn[first]["seed"] + tried * STRIDE
            found |= {number: seed for number in group if self.rollouts[number].seed != seed}
        return found

    def advance(self) -> None:
        """Do what the rollouts want of their pages, all at once."""
        wanted = {number: ("act", (one.wanted,)) for number, one in enumerate(self.rollouts) if one.wanted is not None}
        self._tell(self.fleet.do(wanted))

    def close(self) -> None:
        """End the browsers."""
        self.fleet.close()

    def _tell(self, found: dict[int, Seen | Lost]) -> None:
        for number, seen in found.items():
            self.rollouts[number].seen(seen)


def _resets(drawn: list[Row]) -> dict[int, Command]:
    return {number: ("reset", (row["task"], row["seed"])) for number, row in enumerate(drawn)}


def live_pages(options: TrainerOptions, rewards: list[str], training: Any, style: PromptStyle) -> LivePages:
    """The pages that the flags ask for; `training`: the trainer's. SettingError for unknown ones, for sizes that hold
    no whole episodes on a rank, and for rewards that no page can give."""
    pages = pages_of(options.live_pages)
    trained = [task for task in pages.tasks if task not in pages.held_out]
    tasks = options.live_tasks.split(":") if options.live_tasks else trained
    unknown = [task for task in tasks if task not in pages.tasks]
    if unknown:
        raise SettingError(f"--live_tasks {':'.join(unknown)}: unknown (known: {', '.join(pages.tasks)})")
    if "page" not in rewards or {"accuracy", "gui_action"} & set(rewards):
        raise SettingError(
            f"--reward_funcs {' '.join(rewards)}: with --episodes live the page judges, there is no gold: page and "
            "format_scaled, say, with --reward_weights 1 0.1"
        )
    if training.eval_strategy != "no":
        raise SettingError("--episodes live: not with --eval_strategy; make play says how it does on held-out seeds")
    check_sizes(options, training, len(tasks) * options.live_seeds)
    drawn = [(task, seed) for seed in range(options.live_seeds) for task in tasks]
    seeds = Dataset.from_dict({
        "task": [task for task, _ in drawn], "seed": [seed for _, seed in drawn],
        "source": [f"{options.live_pages}/{task}-{seed}" for task, seed in drawn],
    })  # fmt: skip
    fleet = Fleet(options.live_pages, options.browsers)
    return LivePages(seeds, style, options.episode_steps, fleet, Path(training.output_dir).resolve() / SCREENS)
