"""Episodes on real pages, played by an oracle: what is asked, what the page gives, and who is compared with whom."""

import json
import math
import os
import random
import signal
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from PIL import Image

from overlay.action.action import BOX_TYPES
from overlay.action.space import Space
from overlay.data.images import encode, size_of
from overlay.errors import RunStopped, SettingError
from overlay.live.environment import Goal, Seen
from overlay.live.fleet import Fleet
from overlay.live.phone.environment import SCALE
from overlay.live.phone.screen import UNIT
from overlay.live.phone.tasks import draw_task
from overlay.live.phone.words import LANGUAGES
from overlay.live.worker import STRIDE
from overlay.prompt.crop import Crop, taken_apart
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template, step_input
from overlay.rewards.page import page_reward
from overlay.settings import TrainerOptions
from overlay.training.backend import Answer
from overlay.training.episodes import Episodes, Played
from overlay.training.live import UNLIKE, LivePages, LiveRollout, live_pages
from tests.conftest import needs_chromium
from tests.live.flaky_pages import ASKED
from tests.live.test_fleet import browsers

TASK = "form"
SIZE = 448, 672


def drawn(seed):
    return draw_task(random.Random(f"{TASK} {seed}"), LANGUAGES[seed % 2], [TASK], unseen=False)


def seed_of(gestures):
    """The first seed whose steps are these."""

    def own(seed):
        return [step.gesture for step in drawn(seed).steps if step.gesture != "task_completed"]

    return next(seed for seed in range(200) if own(seed) == gestures)


def said(step, words):
    """The right answer to a step, in norm1000."""
    if step.gesture in BOX_TYPES:
        each = step.screen.elements[step.target]
        box = (each.x, each.y, each.x + each.w, each.y + each.h)
        scaled = [round(value * UNIT * SCALE * 1000 / SIZE[n % 2]) for n, value in enumerate(box)]
        return answer(step.gesture, ",".join(map(str, scaled)), words)
    return answer(step.gesture, step.text, words)


def answer(kind, parameter, words):
    record = {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": words}
    return f"<answer>{json.dumps(record)}</answer>"


def told(row):
    text = "".join(part.get("text", "<image>") for part in row["prompt"][0]["content"])
    return step_input(text)[1]


@pytest.fixture
def world(tmp_path):
    """Function (seeds, slots) → a world of these seeds of the task, and its fleet, which is closed."""
    with closing(Fleet("phone", 2)) as fleet:

        def make(seeds, slots):
            source = [f"phone/{TASK}-{seed}" for seed in seeds]
            rows = Dataset.from_dict({"task": [TASK] * len(seeds), "seed": seeds, "source": source})
            style = PromptStyle(load_template("en"), "en", space=Space("norm1000"), history_screens=1)
            return LivePages(rows, style, slots, fleet, tmp_path / "screens"), fleet

        yield make


def episodes_of(world, slots):
    options = SimpleNamespace(episode_steps=slots, episode_discount=0.5, episode_weight=0.0, scale_rewards="none")
    return Episodes(world, options, 2, lambda values: values)


def test_earlier_screens_are_cropped_where_the_models_own_action_landed(tmp_path):
    shots = [encode(Image.new("RGB", (400, 800), (n, n, n)), "png").data for n in range(4)]
    style = PromptStyle(load_template("en"), "en", space=Space("norm1000"), history_screens=8, history_crop=0.5)
    one, shown = LiveRollout("phone/x", style, tmp_path), []
    for shot, said in zip(shots, [("click", "500,250", ""), ("back", "", ""), ("wait", "", ""), None], strict=True):
        one.seen(Seen(shot, None, None if shown else Goal("do", ["a"], "phone"), 3))
        shown.append(one.due())
        one.take(answer(*said) if said else "eh?")
    crops = [[taken_apart(path)[1] for path in row["image_path"]] for row in shown]
    assert crops == [[None], [None, None], [Crop(0.5, (200, 200)), None, None], [Crop(0.5, (200, 200)), *[None] * 3]]
    assert size_of(shown[2]["image_path"][0]) == (200, 200)


@pytest.mark.integration
@needs_chromium
def test_a_page_judges_what_was_done_in_the_models_own_words(world):
    """Of two rollouts the first is right, the second says nothing readable, waits for nothing, and is out of steps."""
    seed = seed_of(["click", "type"])
    pages, _ = world([seed], 3)
    task, asked = drawn(seed), []

    def ask(rows):
        asked.append([told(row) for row in rows])
        texts = [[said(task.steps[0], "mine"), "what?"], [said(task.steps[1], "mine too"), "eh?"], ["..."]]
        return [Answer([len(asked)], None)] * len(rows), texts[len(asked) - 1]

    episodes = episodes_of(pages, 3)
    played = episodes.play([dict(pages.seeds[0])] * 6, ask)
    assert [len(step) for step in asked] == [2, 2, 1]
    assert all(one["task_content"] == task.instruction and one["app_name"] == "phone" for one in asked[0])
    assert [one["history_path_all"] for one in asked[1]] == [["mine"], ["nothing"]]
    assert asked[2][0]["history_path_all"] == ["nothing", "nothing"]
    assert played.reached == [True, True, True, True, False, True]
    assert [len(row["image_path"]) for row in played.rows[:4]] == [1, 1, 2, 2]
    assert max(len(row["image_path"]) for row in played.rows) == 3  # with the screen before these two
    given = page_reward([], [row["page_reward"] for row in played.rows])
    assert [given[n] for n in (0, 2)] == [0, 1]  # the page's verdict is the last step's
    assert [given[n] for n in (1, 3, 5)] == [0, 0, 0]
    # All that the second saw is the first screen: its three steps and the first's first are one state.
    sources = [row["source"] for row in played.rows]
    assert len({sources[n] for n in (0, 1, 3, 5)}) == 1
    assert sources[2] != sources[0]
    rewards = torch.tensor([0.0, 0.0, 1.0, 0.0, math.nan, 0.0])
    advantages, metrics = episodes.advantages(played, rewards, rewards)
    torch.testing.assert_close(advantages, torch.tensor([0.375, -0.125, 0, -0.125, 0, -0.125]))
    assert 0.5 < metrics.pop("episodes/world_share") < 1  # who asks here has the answers
    assert metrics == {"episodes/steps": 2.5, "episodes/progress": 0.5, "episodes/success": 0.5, "episodes/lost": 0,
                       "episodes/return": 0.25}  # fmt: skip


@pytest.mark.integration
@needs_chromium
def test_an_apps_judge_hears_the_models_last_word(tmp_path):
    """Both begin with a task that cannot be done; the one that says so is right."""
    with closing(Fleet("apps", 1)) as fleet:
        name = "messages-nobody"
        rows = Dataset.from_dict({"task": [name], "seed": [0], "source": [f"apps/{name}-0"]})
        style = PromptStyle(load_template("en"), "en", space=Space("norm1000"))
        pages = LivePages(rows, style, 2, fleet, tmp_path / "screens")
        texts = [answer("task_impossible", "", "no such name"), answer("task_completed", "", "done")]
        played = episodes_of(pages, 2).play([dict(rows[0])] * 4, lambda due: ([Answer([1], None)] * len(due), texts))
    assert [row["page_reward"] for row in played.rows] == [1, 0, 1, 0]
    assert played.reached == [True, True, False, False]
    assert [rollout.done() for rollout in played.rollouts] == [1, 0]


@pytest.mark.integration
@needs_chromium
def test_a_dead_browser_costs_its_rollouts_and_no_more(world, capsys):
    """The second rollout's browser is killed after the first step; the next batch has it again."""
    seed = seed_of(["click", "type"])
    pages, fleet = world([seed], 2)
    task, turn = drawn(seed), []

    def ask(rows):
        turn.append(len(rows))
        if len(turn) == 1:
            for pid in browsers(fleet.processes[1].pid):
                os.kill(pid, signal.SIGKILL)
        return [Answer([1], None)] * len(rows), [said(task.steps[len(turn) - 1], "x")] * len(rows)

    episodes = episodes_of(pages, 2)
    played = episodes.play([dict(pages.seeds[0])] * 4, ask)
    assert turn == [2, 1]
    assert [row["page_reward"] for row in played.rows] == [0, None, 1, None]
    assert played.reached == [True, True, True, False]
    rewards = torch.tensor([0.0, math.nan, 1.0, math.nan])
    advantages, metrics = episodes.advantages(played, rewards, rewards)
    assert advantages.tolist() == [0, 0, 0, 0]  # nobody is left to be compared with
    assert (metrics["episodes/lost"], metrics["episodes/success"]) == (0.5, 1)
    assert "1 of 2 rollouts were lost: " in capsys.readouterr().err
    turn.clear()
    turn.append(0)  # nobody is killed any more
    again = episodes.play([dict(pages.seeds[0])] * 4, lambda rows: ([Answer([1], None)] * len(rows), ["?"] * len(rows)))
    assert all(again.reached)


@pytest.mark.integration
@needs_chromium
def test_rollouts_of_an_episode_begin_alike(tmp_path, monkeypatch):
    """A seed that no page can begin is replaced by the next one; where one page plays another seed than the others of
    its episode, it begins again with theirs."""
    monkeypatch.setenv(ASKED, str(tmp_path / "asked"))
    rows = Dataset.from_dict({"task": ["countdown"] * 2, "seed": [3, 5], "source": ["a", "b"]})
    with closing(Fleet("tests.live.flaky_pages", 2)) as fleet:
        pages = LivePages(rows, PromptStyle(load_template("en"), "en"), 1, fleet, tmp_path / "screens")
        rollouts = pages.begin([dict(rows[number]) for number in (0, 0, 0, 1, 1, 1)], 3)
        assert [one.seed for one in rollouts] == [3 + STRIDE] * 3 + [5] * 3
        assert {one.lost for one in rollouts} == {""}
        assert [len(one.screens) for one in rollouts] == [1] * 6
        sources = [one.due()["source"].rsplit("/", 1)[0] for one in rollouts]
        assert (
            sources
            == [f"tests.live.flaky_pages/countdown-{3 + STRIDE}"] * 3 + ["tests.live.flaky_pages/countdown-5"] * 3
        )
        monkeypatch.setattr("overlay.training.live.BEGUN", 1)
        (tmp_path / "asked").unlink()
        rollouts = pages.begin([dict(rows[1])] * 3, 3)
        assert sorted(one.lost for one in rollouts) == ["", "", UNLIKE]


@pytest.mark.integration
@needs_chromium
def test_an_episode_that_cannot_begin_costs_no_other(tmp_path, monkeypatch):
    """Its tries go to a browser where another episode's pages are open, and stay so."""
    monkeypatch.setenv(ASKED, str(tmp_path / "asked"))
    rows = Dataset.from_dict({"task": ["countdown"] * 2, "seed": [7, 2], "source": ["a", "b"]})
    with closing(Fleet("tests.live.flaky_pages", 1)) as fleet:
        pages = LivePages(rows, PromptStyle(load_template("en"), "en"), 2, fleet, tmp_path / "screens")
        rollouts = pages.begin([dict(rows[number]) for number in (0, 1) for _ in range(4)], 2)
        assert [one.lost for one in rollouts] == ["RuntimeError: the page is blank"] * 2 + [""] * 2
        for one in rollouts[2:]:
            one.due()
            one.take(answer("click", "80,80,90,90", "right"))
        pages.advance()
        assert [one.lost for one in rollouts[2:]] == ["", ""]


@pytest.mark.integration
@needs_chromium
def test_pages_of_the_next_batch_begin_while_the_model_is_trained(tmp_path, monkeypatch):
    """What was foreseen is not reset again; where another batch comes, its own pages begin."""
    monkeypatch.setenv(ASKED, str(tmp_path / "asked"))
    log = tmp_path / "asked.log"
    rows = Dataset.from_dict({"task": ["countdown"] * 3, "seed": [0, 1, 2], "source": ["a", "b", "c"]})
    with closing(Fleet("tests.live.flaky_pages", 2)) as fleet:
        pages = LivePages(rows, PromptStyle(load_template("en"), "en"), 1, fleet, tmp_path / "screens")
        batches = [[dict(rows[number]) for number in numbers for _ in range(2)] for numbers in ((0, 1), (1, 2))]
        pages.foresee([0, 1], 2)
        assert [one.seed for one in pages.begin(batches[0], 2)] == [0, 0, 1, 1]
        assert sorted(log.read_text().split()) == ["0", "0", "1", "1"]
        pages.foresee([0, 1], 2)
        assert [one.seed for one in pages.begin(batches[1], 2)] == [1, 1, 2, 2]
        assert len(log.read_text().split()) == 4 + 4 + 4
        pages.foresee([2], 2)  # and no batch after it


def test_a_run_of_which_nothing_is_left_ends():
    lost = [SimpleNamespace(lost=why, right=[], done=lambda: 0.0) for why in ("E: no", "")]
    worth, episodes = torch.full((4,), math.nan), episodes_of(SimpleNamespace(handed_on=None), 1)

    def batch(*rollouts):
        slots = [True] * len(rollouts), [False] * len(rollouts)
        rows = [{"source": "a"}] * len(rollouts)
        episodes.advantages(Played(rows, [], *slots, list(rollouts)), worth[: len(rollouts)], worth[: len(rollouts)])

    batch(lost[0], lost[0])
    batch(lost[0], lost[1])  # one is left
    batch(lost[0], lost[0])
    batch(lost[0], lost[0])
    with pytest.raises(RunStopped, match="all rollouts of 3 batches were lost: E: no"):
        batch(lost[0], lost[0])


@pytest.mark.parametrize(
    ("changed", "rewards", "message"),
    [
        ({"live_pages": "web"}, ["page"], "--live_pages web: unknown (known: miniwob, phone, apps, or a module"),
        ({"live_tasks": "form:nothing"}, ["page"], "--live_tasks nothing: unknown"),
        ({}, ["accuracy", "format"], "with --episodes live the page judges"),
        ({"episode_steps": 3}, ["page"], "a process generates 8 completions at a time"),
        ({"live_seeds": 1, "live_tasks": "form", "episode_steps": 1}, ["page"], "1 episodes of up to 1 steps"),
    ],
)
def test_refusals(changed, rewards, message, tmp_path):
    training = SimpleNamespace(
        per_device_train_batch_size=8, world_size=1, gradient_accumulation_steps=1, num_generations=2,
        eval_strategy="no", output_dir=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(SettingError) as refused:
        live_pages(TrainerOptions(episodes="live", **changed), rewards, training, PromptStyle())
    assert message in str(refused.value)
