"""The page in a real Chromium: it stands alone, its pictures load, its boxes lie where the figures say."""

import json

import pytest
from playwright.sync_api import sync_playwright

from overlay.action.space import Space
from overlay.data.dataset import load_dataset
from overlay.demo.difference import difference
from overlay.demo.report import SHOWN, choose, curves_svg, write_report
from overlay.demo.score import Scored, Scorer, figures
from overlay.evaluate import baselines
from overlay.metrics.flags import gold_action
from overlay.prompt.style import PromptStyle
from tests.conftest import CHROMIUM, needs_chromium
from tests.pages.looks import look
from tests.stock import TASKS

SPACE = Space("resized", 28 * 28, 168 * 224)  # half of the screens' pixels


@pytest.fixture
def report(demo_rows, tmp_path):
    """A page over real rows, from answers that are right for half of them, in a space of its own."""
    rows = load_dataset(str(demo_rows), str(TASKS / "train"), cache_dir=tmp_path / "arrow")
    scorer = Scorer(rows, PromptStyle(space=SPACE), tmp_path)
    truth = scorer.truth
    guessed = baselines.guess(truth.sizes, 1)
    after = [f"<think>x</think><answer>{text}</answer>" for text in truth.solutions[: len(rows) // 2]]
    after += baselines.majority([gold_action(text) for text in truth.solutions], truth.sizes)[len(after) :]
    first, last = figures(guessed, truth), figures(after, truth)
    assert len(choose(truth, guessed, after)) == len(choose(truth, after, guessed)) == SHOWN
    chosen = choose(truth, after[:-20] + truth.solutions[-20:], after)  # nothing became right
    assert len(set(chosen)) == SHOWN
    before, trained = Scored(guessed, first, {"grey": (first, first)}), Scored(after, last, {"grey": (first, last)})
    seeds = [{"seed": s, "after": trained, "curve": [(step, step / 10) for step in range(5)]} for s in range(2)]
    rise = difference([last["mean_reward"].value - first["mean_reward"].value] * 2)
    falls = {"grey": difference([trained.fall("grey")] * 2)}
    write_report(tmp_path, scorer, before, seeds, {"random": first}, {"mean_reward": rise}, falls, 1.5, "trl")
    return tmp_path, scorer, before, trained


def test_metrics_file_has_the_pages_figures(report):
    folder, scorer, before, trained = report
    metrics, last = json.loads((folder / "metrics.json").read_text()), trained.figures
    assert metrics["rule"] == "box"
    assert metrics["after"][0]["step_success_rate"] == {"value": last["step_success_rate"].value, "n": len(scorer.rows)}
    assert metrics["difference"]["mean_reward"]["rose"] is True
    looked = metrics["looks"]["after, seed 0"]["grey"]
    assert looked["true screens"]["grounding_accuracy"]["value"] == last["grounding_accuracy"].value
    assert metrics["fall"]["grey"]["mean"] == pytest.approx(trained.fall("grey"))
    page = (folder / "report.html").read_text()
    assert f"{last['step_success_rate'].value:.3f} <small>N={len(scorer.rows)}</small>" in page
    assert f"({last['grounding_accuracy'].value:.3f})" in page
    assert len(choose(scorer.truth, before.answers, trained.answers)) == SHOWN


@needs_chromium
@pytest.mark.integration
def test_page_in_chromium(report):
    folder, scorer, before, trained = report
    errors, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "report.html").as_uri())
        assert page.locator("article.step").count() == SHOWN
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth === 336)")
        assert page.locator("#curves svg").bounding_box()["width"] > 300
        page.locator("summary").first.click()
        assert "task_content" in page.locator("details pre").first.inner_text()
        chosen = choose(scorer.truth, before.answers, trained.answers)
        boxes = 0
        for position, index in enumerate(chosen):
            gold = json.loads(scorer.rows[index]["solution"])
            if gold["action_type"] != "click":
                continue
            boxes += 1
            card = page.locator("article.step").nth(position)
            image, drawn = card.locator("img").last.bounding_box(), card.locator("rect.gold").bounding_box()
            scale = image["width"] / 336
            x1, y1, x2, _ = map(int, gold["action_parameter"]["click"].split(","))
            assert drawn["x"] - image["x"] == pytest.approx(x1 * scale, abs=3)
            assert drawn["y"] - image["y"] == pytest.approx(y1 * scale, abs=3)
            assert drawn["width"] == pytest.approx((x2 - x1) * scale, abs=5)
        assert boxes >= 3
        look(page)
        browser.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_difference_needs_two_standard_errors():
    assert difference([0.1, 0.12, 0.11]).rose
    assert not difference([0.3, -0.1, 0.0]).rose
    assert not difference([-0.1, -0.1]).rose
    assert difference([0.1]).standard_error is None


def test_a_curve_of_one_step_is_a_dot(monkeypatch):
    one, longer = {"seed 0": [(1, 0.5)]}, {"seed 0": [(1, 0.5), (2, 0.6)]}
    seen = curves_svg(one).count("<use ")
    usual = curves_svg(longer).count("<use ")
    monkeypatch.setattr("overlay.demo.report.dot", lambda points: "")
    assert seen > curves_svg(one).count("<use ")
    assert usual == curves_svg(longer).count("<use ")
