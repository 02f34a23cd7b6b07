"""`make difficulty`: shares by hand, killed and started again, further samples, the page, and what is refused."""

import json

import pytest
from playwright.sync_api import sync_playwright

from overlay.data.dataset import load_dataset
from overlay.evaluate import difficulty
from overlay.evaluate.difficulty import samples_of
from tests.conftest import CHROMIUM, needs_chromium
from tests.evaluate.parts import action, answering, killed, tree
from tests.pages.looks import look

pytestmark = pytest.mark.integration


@pytest.fixture
def server():
    """(URL, how often each step was asked, a pause in seconds, tasks that are refused): right on task 1 always, on task
    2 every other time, on task 3 never."""
    refused = set()

    def reply(task, number):
        if task in refused:
            return None
        return f"<answer>{action('wait' if task == '1' or (task == '2' and number % 2 == 0) else 'back')}</answer>"

    with answering(reply) as (url, asked, pause):
        yield url, asked, pause, refused


@pytest.fixture
def line(server, tmp_path):
    """Function (*more): a command line over three tasks of two steps, four samples each."""
    data, images = tree(tmp_path, "{task}/{step}.png")
    flags = ["--url", server[0], "--data", data, "--images", images, "--out", str(tmp_path / "out")]
    return lambda *more: [*flags, "--samples", "4", "--concurrency", "4", *more]


def shares(tmp_path):
    return [json.loads(text).get("difficulty") for text in (tmp_path / "out" / "rows.jsonl").open()]


def test_a_server_that_does_not_sample_gives_no_difficulty(line, tmp_path, monkeypatch, capsys):
    """Each task's answers are the same where all of its samples are right or all wrong; with task 2 they differ."""
    monkeypatch.setattr(difficulty, "SURE", 4)
    assert difficulty.main(line("--samples", "1")) == 0  # nothing to compare
    assert difficulty.main(line("--samples", "4")) == 0
    lines = [text for text in (tmp_path / "rows.jsonl").open() if json.loads(text)["image"][0][0] != "2"]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    (tmp_path / "out" / "rows.jsonl").unlink()
    assert difficulty.main(line("--samples", "4")) == 2
    assert "all samples of each of 4 rows are the same at --temperature 1: the" in capsys.readouterr().err
    assert not (tmp_path / "out" / "rows.jsonl").exists()
    assert difficulty.main(line("--samples", "4", "--temperature", "0")) == 2  # other settings than those answers'


def test_the_column_is_the_share_of_right_samples(line, server, tmp_path, capsys):
    assert difficulty.main(line()) == 0
    assert shares(tmp_path) == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    assert "6 rows, 4 samples each: pass@1 0.500, pass@4 0.667; never right 2, always 2" in capsys.readouterr().out
    before = [json.loads(text) for text in (tmp_path / "rows.jsonl").open()]
    after = [json.loads(text) for text in (tmp_path / "out" / "rows.jsonl").open()]
    assert [row | {"difficulty": None} for row in after] == [row | {"difficulty": None} for row in before]
    rows = load_dataset(str(tmp_path / "out" / "rows.jsonl"), str(tmp_path / "tasks"), cache_dir=tmp_path / "arrow")
    assert rows["difficulty"][:] == shares(tmp_path)
    # Again: nothing is asked. More samples: only these.
    assert sum(server[1].values()) == 24
    assert difficulty.main(line()) == 0
    assert sum(server[1].values()) == 24
    assert difficulty.main(line("--samples", "6")) == 0
    assert sum(server[1].values()) == 36
    assert shares(tmp_path) == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]


def test_a_sample_is_right_in_the_format_that_was_asked_for(line, server, tmp_path):
    assert difficulty.main(line("--answer_format", "tool_call")) == 0  # it says <answer> all the same
    assert shares(tmp_path) == [0.0] * 6


def test_killed_it_goes_on_with_the_rest(line, server, tmp_path):
    _, asked, pause, _ = server
    pause[0] = 0.1
    answers = tmp_path / "out" / "answers.jsonl"
    kept = killed("overlay.evaluate.difficulty", line(), answers, 9)
    with open(answers, "a") as file:
        file.write('{"content": "cut')  # as a write that was under way
    assert not (tmp_path / "out" / "rows.jsonl").exists()
    before, pause[0] = sum(asked.values()), 0.0
    assert difficulty.main(line()) == 0
    assert sum(asked.values()) - before == 24 - kept
    assert len({json.loads(text)["content"] for text in answers.open()}) == len(answers.open().readlines()) == 24
    assert shares(tmp_path)[:2] == [1.0, 1.0]
    assert shares(tmp_path)[4:] == [0.0, 0.0]


def test_samples_without_an_answer_are_said_and_asked_again(line, server, tmp_path, capsys):
    server[3].add("3")
    assert difficulty.main(line()) == 3
    assert "difficulty: 8 of 24 samples have no answer: start again" in capsys.readouterr().err
    assert shares(tmp_path) == [1.0, 1.0, 0.5, 0.5, None, None]
    server[3].clear()
    assert difficulty.main(line()) == 0
    assert shares(tmp_path) == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]


def test_rounds_go_over_all_rows():
    rows = [{"content": "a"}, {"content": "b"}]
    assert [row["content"] for row in samples_of(rows, 2)] == ["a-0", "b-0", "a-1", "b-1"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--temperature", "0"), "--temperature 0: 4 samples would be one answer"),
        (("--samples", "0"), "--samples 0: a number of at least 1"),
        (("--out", "."), "--out .: rows.jsonl lies there and would be written over"),
        (
            ("--data", "rows.jsonl:other/rows.jsonl", "--images", "tasks:tasks"),
            "two files named rows.jsonl would be one",
        ),
    ],
)
def test_refused_in_one_line(more, message, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert difficulty.main(line("--data", "rows.jsonl", *more)) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said


@needs_chromium
def test_the_page(line, tmp_path):
    assert difficulty.main(line()) == 0
    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 420, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "out" / "difficulty.html").as_uri())
        look(page)
        assert page.locator("tr").nth(1).locator("td").all_inner_texts() == ["all", "6", "0.500", "0.667", "2", "2"]
        assert "--difficulty 0.125:0.875" in page.locator("p").first.inner_text()
        page.set_viewport_size({"width": 1200, "height": 700})
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert errors == []


def test_a_share_stays_within_its_range():
    assert difficulty.Sampled({}, [True] + [False] * 31).share == 1 / 32


def test_where_no_row_lies_between_none_is_recommended(line, server, tmp_path):
    assert difficulty.main(line("--samples", "1")) == 0
    page = (tmp_path / "out" / "difficulty.html").read_text()
    assert "never right" in page
    assert "--difficulty" not in page
