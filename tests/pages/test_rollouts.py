"""The rollouts page in a real Chromium: filters, sorting, boxes, hostile completions, and refusals."""

import json

import pytest
from playwright.sync_api import sync_playwright

from overlay.data.dataset import load_dataset
from overlay.pages import rollouts
from overlay.pages.groups import embedded, groups
from overlay.prompt.template import step_input
from overlay.training.rollout_file import FOLDER, RolloutFile, read
from tests.conftest import CHROMIUM, needs_chromium
from tests.pages.looks import look
from tests.stock import TASKS

MEANS = "found.map(group => mean(group.answers.map(one => figure(one, 'gui_action_reward')).filter(known)))"
HOSTILE = "</script><script>document.title = 'taken'</script>\ud800"


@pytest.fixture
def run(demo_rows, tmp_path):
    """A run of three steps on two ranks, four completions each, and a line that was cut short."""
    rows = load_dataset(str(demo_rows), str(TASKS / "train"), cache_dir=tmp_path / "arrow")
    clicks = [row for row in rows if json.loads(row["solution"])["action_type"] == "click"]
    for rank in (0, 1):
        log = RolloutFile(str(tmp_path / "run"), rank, 10)
        for step in range(3):
            row = clicks[2 * step + rank] if step < 2 else rows[len(rows) - 1 - rank]
            right = (step, rank) != (0, 1)
            said = row["solution"] if right else '{"action_type": "back", "action_parameter": {"back": ""}}'
            answers = [f"<answer>{said}</answer>", "<answer>{}</answer>", HOSTILE, ""]
            log.write([
                {"step": step, "mode": "train", "source": row["source"], "image_path": row["image"],
                 "problem": row["problem"], "solution": row["solution"], "completion": answer,
                 "rewards": {"gui_action_reward": [1.0 / (1 + step + rank), 0.0, 0.0, None][n], "format_reward": n / 2},
                 "advantage": 1 - n}
                for n, answer in enumerate(answers)
            ])  # fmt: skip
    with open(tmp_path / "run" / FOLDER / "rank00001.jsonl", "a") as file:
        file.write('{"step": 3, "compl')
    return tmp_path / "run"


@needs_chromium
@pytest.mark.integration
def test_a_page_without_gold_says_nothing_of_it(tmp_path):
    """As --episodes live leaves it: the page judges, and no answer was recorded."""
    log = RolloutFile(str(tmp_path / "run"), 0, 10)
    log.write([
        {"step": 1, "mode": "train", "source": "phone/buttons-1/ab", "image_path": [], "problem": "", "solution": "",
         "completion": "?", "rewards": {"page_reward": 0.0}, "advantage": 0.0} for _ in range(2)
    ])  # fmt: skip
    rollouts.write_rollouts(tmp_path / "run", tmp_path / "page.html", 300)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        card = page.locator("article").inner_text()
        assert "step 1 · train · 2 answers · ab" in card
        assert "gold" not in card
        browser.close()


@needs_chromium
@pytest.mark.integration
def test_filter_sort_and_look(run, tmp_path):
    out = run / "rollouts.html"
    assert rollouts.write_rollouts(run, out, 300) == 24
    errors, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(out.as_uri())
        assert page.title() == "Rollouts of run"  # the hostile completion is text
        count = lambda: (page.locator("article").count(), page.locator("#count").inner_text())  # noqa: E731
        assert count() == (6, "24 of 24 answers, 6 prompts")
        look(page)
        card = page.locator("article").first
        assert card.locator("li .tag").all_inner_texts() == ["right", "wrong", "wrong", "wrong"]
        assert "1 of 4 right" in card.locator("small").first.inner_text()
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        page.select_option("#step", "1")
        assert count() == (2, "8 of 24 answers, 2 prompts")
        page.select_option("#type", "click")
        page.select_option("#reward", "gui_action_reward")
        page.fill("#low", "0.3")
        assert count() == (2, "2 of 24 answers, 2 prompts")
        # The answered box lies on the gold box, where the row says.
        first = read(run)[8]
        corner = json.loads(first["solution"])["action_parameter"]["click"].split(",")[:2]
        article = page.locator("article", has=page.get_by_text(first["source"].split("/")[-1]))
        gold, answered = (
            [article.locator(f"rect.{kind}").get_attribute(name) for name in ("x", "y", "width", "height")]
            for kind in ("gold", "answer")
        )
        assert gold == answered
        assert [float(value) for value in gold[:2]] == [float(value) for value in corner]
        page.fill("#low", "")
        page.select_option("#step", "")
        page.select_option("#type", "")
        page.select_option("#reward", "format_reward")
        page.fill("#low", "1.5")
        page.select_option("#sort", "high")
        assert "format_reward 1.500" in page.locator("article").first.inner_text()
        page.fill("#low", "")
        page.select_option("#reward", "gui_action_reward")
        page.select_option("#sort", "wrong")
        cards = page.locator("article").all()
        assert [card.locator(".tag.right").count() for card in cards] == [0, 1, 1, 1, 1, 1]
        means = {}
        for way in ("low", "high"):
            page.select_option("#sort", way)
            means[way] = page.evaluate(MEANS)
        assert means["low"] == sorted(means["low"]) == means["high"][::-1]
        assert means["low"][0] < means["low"][-1]
        page.fill("#text", "document.title")
        assert count() == (6, "6 of 24 answers, 6 prompts")
        page.fill("#text", step_input(first["problem"])[1]["task_content"])
        assert page.locator("article h3").first.inner_text() == step_input(first["problem"])[1]["task_content"]
        page.fill("#text", "")
        page.select_option("#verdict", "true")
        assert count() == (5, "5 of 24 answers, 5 prompts")
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert errors == []
    assert {url for url in requests if not url.startswith("data:")} == {out.as_uri()}


def test_only_the_newest_steps(run):
    out = run / "page.html"
    assert rollouts.write_rollouts(run, out, 10) == 8
    assert rollouts.write_rollouts(run, out, 3) == 3


def test_what_is_gone_is_said(run, tmp_path, capsys):
    assert rollouts.main([str(tmp_path / "nothing")]) == 2
    assert "no rollouts; train with --rollout_log_mb" in capsys.readouterr().err
    gone = groups([{**read(run)[0], "image_path": [str(tmp_path / "gone.png")]}])
    assert embedded(gone) == {str(tmp_path / "gone.png"): None}
    assert rollouts.main([str(run)]) == 0
    assert "24 completions" in capsys.readouterr().out


@pytest.mark.parametrize("line", [b"nonsense", b"null", b"[]", b"{}", b'{"step": 1}', b"\xff", b"[" * 200_000])
def test_a_broken_line_is_named(line, run, capsys):
    file = run / FOLDER / "rank00000.jsonl"
    file.write_bytes(file.read_bytes() + line + b"\n")
    assert rollouts.main([str(run)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"rollouts: {file}:13: ")
    assert said.endswith(": delete the line")


@pytest.mark.parametrize(("flag", "value"), [("--last", "0"), ("--last", "-1"), ("--out", "/proc/none/page.html")])
def test_a_flag_that_cannot_be_gets_one_line(flag, value, run, capsys):
    assert rollouts.main([str(run), flag, value]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"rollouts: {flag} ")


def test_verdicts_and_arrowheads():
    record = {
        "step": 1, "mode": "train", "source": "rows.jsonl:1", "image_path": [], "problem": "", "advantage": 0.0,
        "completion": '<answer>{"action_type": "swipe", "action_parameter": {"swipe": "50,180,50,80"}}</answer>',
        "solution": '{"action_type": "swipe", "action_parameter": {"swipe": "100,200,100,100"}}', "rewards": {},
    }  # fmt: skip
    (group,) = groups([record, {**record, "completion": "?"}])
    assert group["shapes"][0]["d"] == "M100 200 L100 100 M112 122 L100 100 L88 122"
    told = [(answer["right"], answer["told"]) for answer in group["answers"]]
    assert told == [(True, "swipe 50,180,50,80"), (False, "")]
    (live,) = groups([{**record, "solution": ""}])
    assert (live["told"], live["shapes"]) == ("", [])
    (other,) = groups([{**record, "solution": "no action"}])
    assert (other["answers"][0]["right"], other["type"]) == (None, "other")
