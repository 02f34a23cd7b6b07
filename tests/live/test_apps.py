"""Our own apps: the oracle does each task, the judge takes no other end state, and a reset is quick."""

import json
import random
import statistics
import time

import pytest

from overlay.action.action import Action
from overlay.live.apps.catalogue import APPS, HELD_OUT, HELD_OUT_APPS, HELD_OUT_TEMPLATES, TASKS, draw
from overlay.live.apps.environment import PAGES, oracle
from overlay.live.apps.tasks import changed, judge
from overlay.live.kinds import pages_of
from overlay.live.phone.environment import SCALE
from overlay.live.phone.screen import HEIGHT
from overlay.play.episode import episode
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.client import Answer
from tests.conftest import needs_chromium
from tests.live.wrong_ends import WRONG

DONE, IMPOSSIBLE = "task_completed", "task_impossible"


@pytest.mark.parametrize("name", TASKS)
def test_a_right_end_is_the_start_and_what_was_asked(name):
    for seed in range(6):
        drawn = draw(name, seed)
        assert drawn == draw(name, seed)
        right = changed(drawn.start, drawn.task.wants)
        assert json.loads(json.dumps(right)) == right
        assert (right == drawn.start) is drawn.task.impossible
        assert judge(drawn.start, drawn.task, right, drawn.task.answer) == 1
        assert judge(drawn.start, drawn.task, right, {DONE: IMPOSSIBLE, IMPOSSIBLE: DONE}[drawn.task.answer]) == 0
        assert judge(drawn.start, drawn.task, drawn.start, DONE) == 0
        assert any("一" <= sign <= "鿿" for sign in drawn.task.says) is (drawn.lang == "zh")
        assert "|" not in drawn.task.says
        assert "{" not in drawn.task.says


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, ends in WRONG.items() for what in ends])
def test_a_wrong_end_is_refused(name, what):
    for seed in range(4):
        drawn = draw(name, seed)
        end = changed(drawn.start, drawn.task.wants)
        WRONG[name][what](end, drawn)
        assert end != changed(drawn.start, drawn.task.wants)
        assert judge(drawn.start, drawn.task, end, drawn.task.answer) == 0


def test_there_are_wrong_ends_of_each_app_and_tasks_held_out():
    for app, module in APPS.items():
        assert sum(len(ends) for name, ends in WRONG.items() if TASKS[name][0] == app) >= 5
        assert any(draw(name, 0).task.impossible for name in TASKS if TASKS[name][0] == app)
        assert len(module.TEMPLATES) >= 9
    assert set(HELD_OUT_TEMPLATES) <= set(HELD_OUT) < set(TASKS)
    assert set(HELD_OUT_APPS) < set(APPS)
    assert pages_of("apps").held_out == HELD_OUT


@pytest.fixture(scope="module")
def apps():
    with PAGES.open() as environment:
        yield environment


def solved(apps, name, seed):
    """What the page says after the oracle's way."""
    goal = apps.reset(name, seed)
    actions = 0
    for action in oracle(apps):
        assert apps.reward() is None
        assert apps.act(action), (name, seed, action)
        actions += 1
    assert actions == len(goal.plan) or (apps.drawn.task.impossible and actions < len(goal.plan))
    return apps.reward()


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize("app", APPS)
def test_the_oracle_does_its_tasks(app, apps):
    names = [name for name in TASKS if TASKS[name][0] == app][::3]  # all of them: below
    assert {name: solved(apps, name, seed) for seed, name in enumerate(names)} == dict.fromkeys(names, 1)


@needs_chromium
@pytest.mark.integration
def test_a_reset_is_quick_and_its_screen_the_same_again(apps):
    took, screens = [], []
    some = list(APPS)[::3]
    for app in some * 2:
        name = next(name for name in TASKS if TASKS[name][0] == app)
        began = time.perf_counter()
        apps.reset(name, 3)
        took.append(time.perf_counter() - began)
        screens.append(apps.screen())
    assert screens[: len(some)] == screens[len(some) :]
    assert len(set(screens)) == len(some)
    assert statistics.median(took) < 0.2


@needs_chromium
@pytest.mark.integration
def test_what_does_nothing_says_so_and_the_way_is_not_judged(apps):
    apps.reset("settings-volume", 0)
    start = apps.state()
    for action in (Action("click", "100,600"), Action("type", "x"), Action("back"), Action("swipe", "9,9,9,300"),
                   Action("click", "nowhere"), Action("long_click", "100,100"), Action("wait", "")):  # fmt: skip
        assert not apps.act(action)
    assert apps.state() == start
    way = list(oracle_and_a_detour(apps))
    assert len(way) == 5
    assert apps.reward() == 1


def oracle_and_a_detour(apps):
    """The oracle's way, after a look at another page."""
    first = next(oracle(apps))
    for action in (first, Action("back", "")):
        assert apps.act(action)
        yield action
    for action in oracle(apps):
        assert apps.act(action)
        yield action


class Oracle:
    """Answers as a model does."""

    def __init__(self, apps):
        self.apps, self.way = apps, None

    def ask(self, messages, paths):
        self.way = self.way or oracle(self.apps)
        action = next(self.way)
        record = {"action_type": action.type, "action_parameter": {action.type: action.parameter}}
        return Answer(f"<answer>{json.dumps(record)}</answer>")


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize(("name", "answer"), [("alarm-new", DONE), ("messages-nobody", IMPOSSIBLE)])
def test_play_takes_a_models_last_word_to_the_judge(name, answer, apps, tmp_path):
    one = episode(apps, Oracle(apps), name, 5, PromptStyle(load_template("zh")), 2, tmp_path)
    assert one is not None
    assert (one["success"], one["ended"], one["steps"][-1]["action"]) == (True, "said it was done", answer)


MIDDLES = """[...document.querySelectorAll('.tap')].map(e => e.getBoundingClientRect())
    .map(box => [(box.left + box.right) / 2, (box.top + box.bottom) / 2])"""


def at_random(apps, rng, name, seed, most=2):
    """Touches elements, swipes, types, goes back, and says at some time that it is done or cannot be; `most`: actions
    beyond the oracle's."""
    goal = apps.reset(name, seed)
    for _ in range(len(goal.plan) + most):
        kind = rng.choice(["click"] * 8 + ["long_click", "swipe", "type", "back"] + [DONE, IMPOSSIBLE] * (most == 2))
        x, y = (round(value * SCALE) for value in rng.choice(apps.page.evaluate(MIDDLES)))
        swiped = f"{x},{y},{x},{rng.randrange(HEIGHT * SCALE)}"
        apps.act(Action(kind, {"swipe": swiped, "type": rng.choice(['"<b>|:', "7", "x y"])}.get(kind, f"{x},{y}")))
        if apps.reward() is not None:
            break
    return apps.reward() or 0


@needs_chromium
@pytest.mark.long
def test_the_oracle_does_many_seeds_and_chance_does_not(apps):
    assert {solved(apps, name, 100 + seed) for name in TASKS for seed in range(5)} == {1}
    rng = random.Random(0)
    outcomes = {name: [at_random(apps, rng, name, 100 + seed) for seed in range(5)] for name in TASKS}
    possible = [value for name, found in outcomes.items() if not draw(name, 0).task.impossible for value in found]
    impossible = [value for name, found in outcomes.items() if draw(name, 0).task.impossible for value in found]
    rates = [f"{statistics.mean(found):.4f} of {len(found)}" for found in (possible, impossible)]
    print("at random:", rates[0], "and, where nothing can be done,", rates[1])
    assert statistics.mean(possible) < 0.02
    assert statistics.mean(impossible) < 0.5


@needs_chromium
@pytest.mark.long
@pytest.mark.parametrize("app", APPS)
def test_whatever_is_touched_the_page_does_not_fail(app, apps):
    rng = random.Random(app)
    for seed in range(2):
        at_random(apps, rng, next(name for name in TASKS if TASKS[name][0] == app), seed, most=200)  # raises
        assert apps.state() != apps.drawn.start
