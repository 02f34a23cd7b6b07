"""Many pages at once, in real browsers: what they answer, and what becomes of them when one dies."""

import os
import random
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from overlay.action.action import Action
from overlay.errors import SettingError
from overlay.live.environment import Lost, Pages, Seen
from overlay.live.fleet import HUNG, Fleet
from overlay.live.kinds import pages_of
from overlay.live.phone.environment import SCALE
from overlay.live.phone.screen import UNIT
from overlay.live.phone.tasks import draw_task
from overlay.live.phone.words import LANGUAGES
from tests.conftest import needs_chromium
from tests.stock import ROOT

pytestmark = [pytest.mark.integration, needs_chromium]


def right(task, seed):
    """The right click of a task whose first step is one, in screenshot pixels."""
    step = draw_task(random.Random(f"{task} {seed}"), LANGUAGES[seed % 2], [task], unseen=False).steps[0]
    assert step.gesture == "click"
    element = step.screen.elements[step.target]
    x, y = (element.x + element.w / 2, element.y + element.h / 2)
    return Action("click", [x * UNIT * SCALE, y * UNIT * SCALE])


def children(pid, word=""):
    """All processes below one, or those with a word in their command line."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields, line = stat.read_text().rsplit(")", 1)[1].split(), stat.with_name("cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == pid:
            own = [int(stat.parent.name)] if word.encode() in line else []
            found += [*own, *children(int(stat.parent.name), word)]
    return found


def browsers(pid):
    """Chromium's own processes below one."""
    return children(pid, "chromium")


def test_pages_are_apart_and_a_dead_browser_costs_its_own():
    with closing(Fleet("phone", 2)) as fleet:
        begun = fleet.do({number: ("reset", ("buttons", seed)) for number, seed in enumerate((1, 1, 3, 4))})
        assert [begun[n].screen == begun[0].screen for n in range(4)] == [True, True, False, False]
        assert all(begun[n].goal.plan and begun[n].reward is None for n in range(4))
        again = fleet.do({0: ("act", (right("buttons", 1),)), 1: ("act", (Action("wait", ""),))})
        assert again[0].reward == 1 or again[0].screen != begun[0].screen
        assert (again[1].screen, again[1].reward) == (begun[1].screen, None)
        for pid in browsers(fleet.processes[1].pid):  # of pages 1 and 3
            os.kill(pid, signal.SIGKILL)
        wait = ("act", (Action("wait", ""),))
        found = fleet.do({0: ("reset", ("buttons", 1)), 1: wait, 2: wait, 3: wait})
        assert [type(found[n]) for n in range(4)] == [Seen, Lost, Seen, Lost]
        assert isinstance(fleet.do({2: ("act", ("no action",))})[2], Lost)  # a fault of the page's own
        found = fleet.do({1: ("reset", ("buttons", 1)), 2: ("reset", ("buttons", 1))})
        assert [found[n].screen == begun[0].screen for n in (1, 2)] == [True, True]
        pids = [process.pid for process in fleet.processes]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_browser_that_died_between_two_episodes_is_replaced():
    reset = ("reset", ("buttons", 1))
    with closing(Fleet("phone", 1)) as fleet:
        before = fleet.do({0: reset, 1: reset})
        for pid in browsers(fleet.processes[0].pid):
            os.kill(pid, signal.SIGKILL)
        after = fleet.do({0: reset, 1: reset})
        assert [after[n].screen == before[n].screen for n in (0, 1)] == [True, True]


def test_what_hangs_is_ended(monkeypatch):
    monkeypatch.setattr("overlay.live.fleet.DEADLINE", 0.5)
    with closing(Fleet("phone", 1)) as fleet:
        found = fleet.do({0: ("reset", ("buttons", 1))})  # a browser takes longer to start
        assert found[0] == HUNG
        assert fleet.processes == [None]


def test_an_environment_of_ones_own():
    source = Path(__file__).with_name("own_pages.py").read_text(encoding="utf-8").split("\n\n", 1)[1]
    assert source.strip() in (ROOT / "docs" / "episodes.md").read_text(encoding="utf-8")
    click = ("act", (Action("click", "90,80"),))
    with closing(Fleet("tests.live.own_pages", 1)) as fleet:
        begun = fleet.do({0: ("reset", ("countdown", 1)), 1: ("reset", ("countdown", 0))})
        assert [len(begun[n].goal.plan) for n in (0, 1)] == [2, 1]
        rewards = [fleet.do({0: click, 1: ("act", (Action("click", "9,80"),))}), fleet.do({0: click})]
        assert [rewards[0][0].reward, rewards[0][1].reward, rewards[1][0].reward] == [None, 0, 1]
    for name, message in (("web", "unknown"), ("no.such", "No module"), ("tests.live.wrong_ends", "PAGES")):
        with pytest.raises(SettingError, match=message):
            pages_of(name)


def test_an_environment_without_a_method_is_one_line():
    whole: Any = {name: lambda self: None for name in ("reset", "screen", "act", "reward")}
    old: Any = type("Old", (), whole)
    browser: Any = None
    with pytest.raises(SettingError, match=r"Old has no close\(\): docs/episodes.md"):
        Pages(("one",), (), lambda _: old()).begun(browser)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("PAGES = (", "SyntaxError"),
        ("PAGES = {'tasks': ()}", "no overlay.live.environment.Pages"),
        ("from overlay.live.environment import Pages\nPAGES = Pages(('one'), (), None)", "a tuple of tasks"),
    ],
)
def test_a_module_that_is_at_fault_is_one_line(source, message, tmp_path, monkeypatch):
    folder = tmp_path / f"pages_{abs(hash(source))}"
    folder.mkdir()
    (folder / "own.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingError, match=message):
        pages_of(f"{folder.name}.own")
