"""Live episodes in Chromium: a player that is right is rewarded by the page, one that is wrong is not."""

import json

import pytest
from playwright.sync_api import sync_playwright

from overlay.action.space import Space, rescale_action
from overlay.live import play
from overlay.live.episode import episode
from overlay.live.miniwob import browser
from overlay.live.miniwob.solve import solve
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from tests.conftest import CHROMIUM, needs_chromium

pytestmark = [pytest.mark.integration, needs_chromium]
THINK = '<think>{"task_interpretation": ""}</think>'


class Player:
    """Answers with given actions, in order, and keeps what it was asked."""

    def __init__(self, actions, scale=(1.0, 1.0)):
        self.asked = []
        self.answers = iter([
            THINK + "<answer>" + rescale_action(json.dumps({
                "action_type": kind, "action_parameter": {kind: parameter}, "action_description": plan,
            }), scale) + "</answer>"
            for kind, parameter, plan in actions
        ])  # fmt: skip

    def ask(self, messages, paths):
        self.asked.append((messages, paths))
        return next(self.answers)


@pytest.mark.parametrize("space", ["original", "norm1000"])
@pytest.mark.parametrize("task", ["enter-text", "click-checkboxes-transfer", "scroll-text-2"])
def test_the_oracles_actions_are_rewarded(task, space, tmp_path):
    """Through the prompt, the coordinate space and the browser: what the oracle did, said as a model says it."""
    style = PromptStyle(load_template("zh"), space=Space(space))
    with browser.open_page() as page:
        seed = next(n for n in range(100_000, 100_040) if solve(page, task, f"{task}-{n}"))
        _, _, actions = solve(page, task, f"{task}-{seed}")
        scale = style.space.scale(browser.WIDTH * browser.SCALE, browser.HEIGHT * browser.SCALE)
        player = Player(actions, scale)
        one = episode(page, player, task, f"{task}-{seed}", style, 2, tmp_path)
    assert (one["success"], one["reward"], one["ended"]) == (True, 1, "the page ended it")
    # Each prompt has the history of what was said, and the previous screen from the second step on.
    for number, (messages, paths) in enumerate(player.asked):
        text = "".join(part.get("text", "") for part in messages[0]["content"])
        assert len(paths) == min(number + 1, 2)
        assert all(json.dumps(plan, ensure_ascii=False)[1:-1] in text for *_, plan in actions[:number])


def test_a_wrong_player_is_not_rewarded(tmp_path):
    task = "click-test-transfer"
    style = PromptStyle(load_template("zh"))
    with browser.open_page() as page:
        seed = next(n for n in range(100_000, 100_040) if solve(page, task, f"{task}-{n}"))
        for actions, ended in (
            ([("task_completed", "", "done")], "said it was done"),
            ([("click", "5,440", "beside")] * 9, "out of steps"),
            ([("fly", "", "?")] * 9, "out of steps"),
        ):
            one = episode(page, Player(actions), task, f"{task}-{seed}", style, 2, tmp_path)
            assert (one["success"], one["ended"]) == (False, ended)


def test_a_served_model_plays_and_its_page_is_looked_at(url, tiny_model_dir, tmp_path):
    line = ["--url", url, "--name", str(tiny_model_dir), "--tasks", "click-test-transfer", "click-button"]
    assert play.main([*line, "--episodes", "1", "--max_tokens", "8", "--out", str(tmp_path / "play")]) == 0
    metrics = json.loads((tmp_path / "play" / "metrics.json").read_text())
    assert metrics["all"]["n"] == 2
    assert set(metrics["by_task"]) == {"click-test-transfer", "click-button"}
    assert metrics["held-out types"]["n"] == 1
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = chromium.new_page()
        page.goto((tmp_path / "play" / "play.html").as_uri())
        assert page.locator("#count").inner_text() == "2 of 2"
        assert page.evaluate("[...document.images].every(image => image.naturalWidth === 336)")
        page.select_option("#task", "click-button")
        assert page.locator("#count").inner_text() == "1 of 2"
        chromium.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--out", "x"], "give either --model"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1", "--tasks", "fly"], "--tasks fly: unknown"),
        (["--out", "x", "--url", "http://127.0.0.1:9/v1"], "no OpenAI-compatible server answers there"),
    ],
)
def test_bad_input_gets_one_line(line, message, capsys):
    assert play.main(line) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("play: ")
    assert message in said


def test_intervals_of_shares():
    low, high = play.wilson(1, 2)
    assert (round(low, 3), round(high, 3)) == (0.095, 0.905)  # Wilson's, by hand
    assert play.wilson(0, 0) == (0.0, 1.0)
