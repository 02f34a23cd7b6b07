"""Live episodes in Chromium: a player that is right is rewarded by the page, one that is wrong is not."""

import json
import os
import signal
import time
from contextlib import closing

import pytest

from overlay.action.action import Action, answer_text
from overlay.action.completion import ANSWER_TAG, TOOL_CALL
from overlay.action.space import Space, rescale_action
from overlay.live.apps.environment import PAGES as APPS
from overlay.live.miniwob import browser
from overlay.live.miniwob.environment import MiniWob
from overlay.live.miniwob.solve import solve
from overlay.live.phone.environment import PAGES as PHONE
from overlay.play import run as play
from overlay.play.episode import episode
from overlay.prompt.crop import landed, taken_apart
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.client import Answer, Client
from tests.broken_server import broken_server
from tests.browsers import begin
from tests.conftest import needs_chromium
from tests.pages.looks import look as look_at

pytestmark = [pytest.mark.integration, needs_chromium]
# Tool calls and earlier screens too.
OTHER = {"norm1000": {"answer_format": TOOL_CALL, "history_screens": 1, "history_crop": 0.5}}
THINK = '<think>{"task_interpretation": ""}</think>'


class Player:
    """Answers with given actions, in order, and keeps what it was asked."""

    def __init__(self, actions, scale=(1.0, 1.0), form=ANSWER_TAG):
        self.asked = []
        self.answers = iter([
            THINK + answer_text(rescale_action(json.dumps({
                "action_type": kind, "action_parameter": {kind: parameter}, "action_description": plan,
            }), scale), form)
            for kind, parameter, plan in actions
        ])  # fmt: skip

    def ask(self, messages, paths):
        self.asked.append((messages, paths))
        return Answer(next(self.answers))


def solvable(page, task):
    """(seed, the oracle's actions) of the first seed that it solves."""
    solved = ((n, solve(page, task, f"{task}-{n}")) for n in range(100_000, 100_040))
    return next((seed, found[2]) for seed, found in solved if found)


@pytest.fixture(scope="module")
def repeated(request, pages, tmp_path_factory):
    """Function (task, space) → (the oracle's actions, the player that repeated them, what became of its episode)."""

    def play_again(page, task, space):
        style = PromptStyle(load_template("zh"), space=Space(space), **OTHER.get(space, {}))
        seed, actions = solvable(page, task)
        scale = style.space.scale(browser.WIDTH * browser.SCALE, browser.HEIGHT * browser.SCALE)
        player = Player(actions, scale, style.answer_format)
        return actions, player, episode(MiniWob(page), player, task, seed, style, 2, tmp_path_factory.mktemp("screens"))

    return begin(request, pages, play_again)


@pytest.mark.parametrize("space", ["original", "norm1000"])
@pytest.mark.parametrize("task", ["enter-text", "click-checkboxes-transfer", "scroll-text-2"])
def test_the_oracles_actions_are_rewarded(task, space, repeated):
    """Through the prompt, the coordinate space and the browser: what the oracle did, said as a model says it."""
    actions, player, one = repeated(task=task, space=space)
    assert (one["success"], one["reward"], one["ended"]) == (True, 1, "the page ended it")
    # Each prompt has the history of what was said, and the previous screen from the second step on.
    for number, (messages, paths) in enumerate(player.asked):
        text = "".join(part.get("text", "") for part in messages[0]["content"])
        assert len(paths) == min(number + 1, 2 + OTHER.get(space, {}).get("history_screens", 0))
        if len(paths) == 3:  # the first around where the player's own action landed
            crop, place = taken_apart(paths[0])[1], landed(Action(*actions[number - 2][:2]))
            assert (crop is None) == (place is None)
            assert crop is None or crop.point == pytest.approx(place, abs=2)
        assert all(json.dumps(plan, ensure_ascii=False)[1:-1] in text for *_, plan in actions[:number])


WRONG = [
    ([("task_completed", "", "done")], "said it was done"),
    ([("click", "5,440", "beside")] * 9, "out of steps"),
    ([("fly", "", "?")] * 9, "out of steps"),
]  # fmt: skip


def test_a_wrong_player_is_not_rewarded(pages, tmp_path):
    def play_wrong(page):
        seed, _ = solvable(page, "click-test-transfer")
        style = PromptStyle(load_template("zh"))
        page = MiniWob(page)
        return [episode(page, Player(acts), "click-test-transfer", seed, style, 2, tmp_path) for acts, _ in WRONG]

    episodes = pages.submit(play_wrong).result()
    assert [(one["success"], one["ended"]) for one in episodes] == [(False, ended) for _, ended in WRONG]


def test_a_served_model_plays_and_its_page_is_looked_at(url, pages, tiny_model_dir, tmp_path):
    line = ["--url", url, "--name", str(tiny_model_dir), "--tasks", "click-test-transfer", "click-button"]
    assert play.main([*line, "--episodes", "1", "--max_tokens", "8", "--out", str(tmp_path / "play")]) == 0
    metrics = json.loads((tmp_path / "play" / "metrics.json").read_text())
    assert metrics["all"]["n"] == 2
    assert set(metrics["by_task"]) == {"click-test-transfer", "click-button"}
    assert metrics["held-out types"]["n"] == 1

    def look(page):
        with closing(page.context.browser.new_page()) as view:
            view.goto((tmp_path / "play" / "play.html").as_uri())
            assert view.locator("#count").inner_text() == "2 of 2"
            look_at(view)
            assert view.evaluate("[...document.images].every(image => image.naturalWidth === 336)")
            view.select_option("#task", "click-button")
            assert view.locator("#count").inner_text() == "1 of 2"

    pages.submit(look).result()


def test_tasks_that_cannot_be_done_are_counted_apart():
    """A model that always gives up is right of those, and of nothing else."""
    tasks = ("messages-nobody", "messages-send", "notes-new")
    assert {*tasks} <= {*APPS.tasks}
    episodes = [{"task": task, "unanswered": None, "steps": [], "success": task in APPS.impossible} for task in tasks]
    found = play.summary(episodes, APPS)
    assert [(found[name]["success_rate"], found[name]["n"]) for name in play.GROUPS] == [
        (1 / 3, 3), (1 / 2, 2), (0, 1), (0, 2), (1, 1)
    ]  # fmt: skip
    assert len(APPS.impossible) == 11
    assert "cannot be done" not in play.summary([], PHONE)


@pytest.fixture
def broken():
    with broken_server() as server:
        server.kind = "as usual"
        yield server


def line_of(broken, out, *more):
    tasks = ("--tasks", "click-test", "click-button", "--workers", "1", "--retries", "0", "--timeout", "5")
    return ["--url", broken.url, "--name", "m", "--out", str(out), *tasks, *more]


def after(broken, monkeypatch, count, event):
    """`event()` instead of the ask after `count` ones."""
    ask, asked = Client.ask, []

    async def counted(client, messages, paths):
        asked.append(paths)
        if len(asked) == count + 1:
            event()
        return await ask(client, messages, paths)

    monkeypatch.setattr(Client, "ask", counted)


@pytest.mark.parametrize("kind", ["status 500", "HTML", "choices null"])
def test_a_bad_reply_costs_its_episode(kind, broken, tmp_path, monkeypatch, capsys):
    """The second episode's; it is on the page, and in no rate."""

    def breaks():
        broken.kind = kind
        mended = browser.start
        monkeypatch.setattr(browser, "start", lambda *more: setattr(broken, "kind", "as usual") or mended(*more))

    after(broken, monkeypatch, 5, breaks)  # an episode has two steps of the oracle's and two more
    assert play.main(line_of(broken, tmp_path, "--episodes", "2", "--tasks", "click-test")) == 3
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["all"]["n"] == 1
    assert sum(metrics["unanswered"].values()) == 1
    assert "1 episodes have no answer at some step and are not counted" in (tmp_path / "play.html").read_text()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("play: episodes without an answer are not counted (")
    assert "2 of 2 episodes were played" in said


@pytest.mark.parametrize("count", [0, 4])
def test_ctrl_c_keeps_what_was_played(count, broken, tmp_path, monkeypatch, capsys):
    """In the first episode, which leaves nothing, and in the second."""
    after(broken, monkeypatch, count, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert play.main(line_of(broken, tmp_path, "--episodes", "2")) == 130
    played = count // 4
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"play: stopped; {played} of 4 episodes were played")
    left = [path.name for path in sorted(tmp_path.iterdir())]
    assert left == ["episodes.jsonl", "metrics.json", "play.html"][: 3 * played]
    if played:
        assert json.loads((tmp_path / "metrics.json").read_text())["all"]["n"] == 1
        assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 1


def test_what_was_played_stays_and_the_same_command_goes_on(broken, tmp_path, monkeypatch, capsys):
    after(broken, monkeypatch, 4, lambda: os.kill(os.getpid(), signal.SIGINT))  # in the second episode
    line = line_of(broken, tmp_path, "--episodes", "1")
    assert play.main(line) == 130
    (kept,) = (tmp_path / "episodes.jsonl").read_text().splitlines()
    with (tmp_path / "episodes.jsonl").open("a") as file:
        file.write('{"task": "click-b')  # as a kill leaves it
    monkeypatch.undo()
    capsys.readouterr()
    for named, told in (
        (["--extra", "3"], "extra"),
        (["--temperature", "1"], "temperature"),
        (["--name", "n"], "model"),
    ):
        assert play.main([*line, *named]) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert said == f"play: {tmp_path} holds episodes with another {told}: choose another --out"
    asked = len(broken.requests)
    assert play.main(line) == 0
    assert f"{tmp_path}: 1 episodes are there already, and stay" in capsys.readouterr().err
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert kept in lines
    assert len(lines) == json.loads((tmp_path / "metrics.json").read_text())["all"]["n"] == 2
    assert (tmp_path / "play.html").read_text().count("data:image/png") >= 8  # the screens of both
    assert 0 < len(broken.requests) - asked <= 5
    asked = len(broken.requests)
    assert play.main(line) == 0
    assert len(broken.requests) <= asked + 1  # all are there


def test_ctrl_c_while_it_writes_keeps_the_episodes(broken, tmp_path, monkeypatch, capsys):
    write_text = play.Path.write_text

    def interrupted(path, text, **options):
        if path.name.startswith("episodes"):
            write_text(path, text[:10])  # as far as it got
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return write_text(path, text, **options)

    monkeypatch.setattr(play.Path, "write_text", interrupted)
    assert play.main(line_of(broken, tmp_path, "--episodes", "1")) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("play: stopped; 2 of 2 episodes were played")
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert {json.loads(line)["task"] for line in lines} == {"click-test", "click-button"}


def test_a_server_that_died_ends_it(broken, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("overlay.serve.client.GIVE_UP", 2)
    after(broken, monkeypatch, 5, lambda: setattr(broken, "kind", "closed without a word"))
    assert play.main(line_of(broken, tmp_path, "--episodes", "4")) == 3
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["all"]["n"], metrics["unanswered"]) == (1, {"connection": 2})
    assert "3 of 8 episodes were played" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--out", "x"], "give either --model"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1", "--tasks", "fly"], "--tasks fly: unknown"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1"], "no OpenAI-compatible server answers there"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1", "--workers", "0"], "--workers 0: a number of at least 1"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1", "--extra", "-1"], "--extra -1: a number of at least 0"),
        (["--out", "x", "--pages", "web"], "--pages web: unknown (known: miniwob, phone, apps, or a module"),
        (["--out", "x", "--pages", "tests.live.own_pages", "--tasks", "fly"], "unknown (known: countdown)"),
        (["--out", __file__, "--url", "http://127.0.0.1:9/v1"], "cannot be written"),
    ],
)
def test_bad_input_gets_one_line(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert play.main(line) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("play: ")
    assert message in said


def test_a_rate_of_no_episodes_is_a_dash(tmp_path, capsys):
    one = {"task": "buttons", "seed": 1, "instruction": "press OK", "plan": [], "steps": [], "ended": "out of steps"}
    play.write(tmp_path, [one | {"unanswered": "timeout", "reward": None, "success": False}], "phone", {"model": "m"})
    page = (tmp_path / "play.html").read_text()
    play.tell(tmp_path, json.loads((tmp_path / "metrics.json").read_text()))
    assert capsys.readouterr().out.splitlines()[2].split() == ["held-out", "types", "none", "N=0"]
    assert page.count('<td>–</td><td>–</td><td class="n">0</td>') == 3
    assert "0.00" not in page


def test_intervals_of_shares():
    low, high = play.wilson(1, 2)
    assert (round(low, 3), round(high, 3)) == (0.095, 0.905)  # Wilson's, by hand
    assert play.wilson(0, 0) == (0.0, 1.0)
