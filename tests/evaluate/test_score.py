"""`make eval`: killed and started again, scored and looked at, set against other scores, and what is refused."""

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from http.server import ThreadingHTTPServer
from typing import ClassVar

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from overlay.errors import DataError, SettingError
from overlay.evaluate import score
from overlay.evaluate.answers import Answers
from overlay.evaluate.identity import file_digest, weights_digest
from tests.conftest import CHROMIUM, needs_chromium
from tests.evaluate.parts import Json, killed, tree
from tests.pages.looks import look
from tests.served_parts import HELD_OUT_TASKS


class Slow(Json):
    """A server that takes its time, counts, and answers every row alike; `refuses`: with an error instead."""

    asked: ClassVar[list[int]] = []
    refuses: ClassVar[bool] = False
    says: ClassVar[str] = ""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if Slow.refuses:
            self.reply({"error": {"message": "no"}}, 400)
            return
        time.sleep(0.2)
        Slow.asked.append(hash(body))
        self.say(Slow.says + '<answer>{"action_type": "wait", "action_parameter": {"wait": ""}}</answer>')


@pytest.fixture
def slow():
    Slow.asked, Slow.refuses, Slow.says = [], False, ""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()


@pytest.mark.integration
def test_a_score_that_was_killed_asks_only_for_the_rest(slow, held_out, tmp_path):
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path / "out")]
    line += ["--concurrency", "8"]
    answers = tmp_path / "out" / "answers.jsonl"
    kept = killed("overlay.evaluate.score", line, answers, 30)
    with open(answers, "a") as file:
        file.write('{"key": "cut')  # as a write that was under way
    before = len(Slow.asked)
    assert score.main(line) == 0
    rows = len(held_out.read_text().splitlines())
    assert len(Slow.asked) - before == rows - kept  # none of the kept ones again
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["rows"] == rows
    assert score.main([*line, "--temperature", "1"]) == 2  # other settings, other folder


@pytest.mark.integration
def test_rows_without_an_answer_are_said(slow, held_out, tmp_path, capsys):
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path / "out")]
    Slow.refuses = True
    assert score.main([*line, "--limit", "2"]) == 3
    assert "eval: no row has an answer; the first: " in capsys.readouterr().err
    Slow.refuses = False
    assert score.main([*line, "--limit", "2"]) == 0
    Slow.refuses = True
    assert score.main([*line, "--limit", "3"]) == 3
    assert "eval: 1 of 3 rows have no answer and are not counted" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"] == 2


@pytest.mark.integration
def test_ctrl_c_scores_what_has_an_answer(slow, held_out, tmp_path, monkeypatch, capsys):
    """And the same command asks for the rest, without probes: it was not finished."""
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path / "out")]
    line += ["--limit", "6", "--concurrency", "2"]
    add = Answers.add

    def interrupted(answers, record):
        add(answers, record)
        if len(answers.by_content) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Answers, "add", interrupted)
    assert score.main(line) == 130
    said = capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    kept = len((tmp_path / "out" / "answers.jsonl").read_text().splitlines())
    assert 3 <= kept <= 4  # one may have been on its way
    assert f"eval: stopped with {kept} of 6 answers, which were scored" in said
    assert metrics["rows"] == kept
    assert metrics["unanswered"] == {"stopped before they were asked": 6 - kept}
    assert "rows have no answer and are not counted" in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setattr(Answers, "add", add)
    time.sleep(0.5)  # requests that were on their way arrive, unheard
    before = len(Slow.asked)
    assert score.main(line) == 0
    assert len(Slow.asked) - before == 6 - kept


@pytest.mark.integration
def test_ctrl_c_while_it_asks_on_its_own_words_scores_the_rows(slow, held_out, tmp_path, monkeypatch, capsys):
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path / "out")]

    async def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(5)

    monkeypatch.setattr("overlay.evaluate.episodes._episode", interrupted)
    assert score.main([*line, "--limit", "6", "--sop"]) == 130
    assert "stopped with 6 of 6 answers, which were scored" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["rows"], metrics["unanswered"], "sop" in metrics) == (6, {}, False)


@needs_chromium
@pytest.mark.integration
def test_the_score_of_a_served_model_and_its_page(url, held_out, tiny_model_dir, tmp_path, capsys):
    out = tmp_path / "score"
    line = ["--url", url, "--name", str(tiny_model_dir), "--data", str(held_out), "--images", HELD_OUT_TASKS]
    line += ["--max_tokens", "8", "--limit", "30"]
    assert score.main([*line, "--out", str(out)]) == 0
    assert score.main([*line, "--out", str(tmp_path / "second"), "--compare", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "step_success_rate (box) " in printed  # with its rule
    assert "N=30" in printed
    metrics = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert metrics["rule"] == "box"
    assert metrics["metrics"]["step_success_rate"]["n"] == 30
    assert metrics["second_less_first"]["score"]["n"] == 30
    assert metrics["rules"]["infigui"]["steps"]["n"] > 0
    assert set(metrics["baselines"]) == {"random", "majority", "plan"}
    assert (tmp_path / "second" / "rows.csv").read_text().count("\n") == 31
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 1400})
        page.goto((tmp_path / "second" / "report.html").as_uri())
        assert "Score of second" in page.inner_text("h1")
        assert "step_success_rate (box)" in page.inner_text("table >> nth=0")
        assert page.locator("#rules tr").count() == 1 + len(metrics["rules"])
        assert "the row lacks elements" in page.inner_text("#rules")
        assert page.locator("svg").count() > 4
        shown = page.locator("article").count()
        page.select_option("#type", "click")
        clicks = page.locator("article").count()
        assert 0 < clicks < shown == 30
        assert all("gold click" in text for text in page.locator("article > small").all_inner_texts())
        page.select_option("#type", "")
        verdicts = page.locator("article .tag").all_inner_texts()
        assert verdicts == sorted(verdicts, key=["wrong", "right", "no verdict"].index)
        look(page)
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert Image.open(tmp_path / "page.png").size == (1250, 1400)


BAD = ["--concurrency 0", "--concurrency -1", "--limit -1", "--max_tokens 0", "--temperature -1", "--temperature nan",
       "--timeout 0", "--timeout inf", "--retries -1"]  # fmt: skip


@pytest.mark.parametrize("flag", BAD)
def test_a_number_that_is_none_gets_one_line(flag, slow, held_out, tmp_path, capsys):
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path)]
    assert score.main([*line, "--limit", "1", *flag.split()]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"eval: {flag.split()[0]} ")
    assert not Slow.asked


def test_an_out_that_cannot_be_written_is_said_before_anything_is_asked(slow, held_out, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert score.main(["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(f"eval: --out {out}: cannot be written (")
    assert not Slow.asked


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("answers.jsonl", '{"content": "a", "completion": "b"}\nnot JSON\n', "answers.jsonl:2: not an answer"),
        ("answers.jsonl", '{"content": "a"}\n', "answers.jsonl:1: not an answer"),
        ("answers.jsonl", '{"content": [], "completion": "b"}\n', "answers.jsonl:1: not an answer"),
        ("answers.jsonl", '{"content": "a", "completion": null}\n', "answers.jsonl:1: not an answer"),
        ("answers.jsonl", "[" * 200_000 + "\n", "answers.jsonl:1: not an answer"),
        ("answers.jsonl", "null\n", "answers.jsonl:1: not an answer"),
        ("settings.json", "{", "settings.json: not JSON"),
        ("settings.json", "[]", "settings.json: not the settings of a score"),
    ],
)
def test_a_broken_file_of_an_earlier_score_is_named(file, content, message, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message):
        Answers(tmp_path, {}, "1" * 16)


def test_bad_input_gets_one_line(capsys):
    line = ["--data", "a", "--images", "b", "--out", "c"]
    for more in ([], ["--model", "m", "--url", "u"]):
        assert score.main([*line, *more]) == 2
        assert capsys.readouterr().err == "eval: give either --model (a folder) or --url (a server)\n"


@pytest.mark.integration
def test_several_files_by_a_protocol_against_several_scores(slow, tmp_path, capsys):
    """Two files, a protocol's rows and rule; two scores of one folder name, one of which lacks rows."""
    files, folders = zip(*(tree(tmp_path / name, "{task}/screens/{step}.png") for name in "ab"), strict=True)
    line = ["--url", slow, "--protocol", "androidcontrol-high"]
    whole = ["--data", ":".join(files), "--images", ":".join(folders)]
    for name, more in (("ra", whole), ("rb", ["--data", files[0], "--images", folders[0]])):
        assert score.main([*line, *more, "--out", str(tmp_path / name / "eval")]) == 0
    compared = ["--compare", str(tmp_path / "ra" / "eval"), str(tmp_path / "rb" / "eval")]
    assert score.main([*line, *whole, "--out", str(tmp_path / "out"), "--sop", *compared]) == 0
    told = capsys.readouterr()
    assert "step_success_rate (infigui)" in told.out
    assert "SOP task_progress (infigui) " in told.out
    assert "rb/eval: 6 rows are in both; 6 only here, 0 only there: " in told.err
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (figures["rule"], figures["protocol"]["name"], figures["tasks"]) == ("infigui", "androidcontrol-high", 6)
    assert [figures["second_less_first"][name]["n"] for name in ("ra/eval", "rb/eval")] == [12, 6]
    assert (figures["sop"]["task_progress"]["value"], figures["sop"]["task_progress"]["n"]) == (1.0, 6)
    assert figures["curves"]["its own words (SOP)"] == [{"value": 1.0, "n": 6}] * 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "step success (infigui) 100.0 %" in page
    assert all(f">{words}</span>" in page for words in ("plan not told", "all earlier steps told"))
    refused = [*line, *whole, "--out", str(tmp_path / "out"), "--rule", "aitw"]
    assert score.main(refused) == 2
    assert "eval: rule aitw can judge none of the 12 rows: no such type: wait" in capsys.readouterr().err
    assert score.main([*line, *whole, "--out", str(tmp_path / "out"), "--protocol", "odysey"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "--protocol: invalid choice: 'odysey' (choose from 'androidcontrol-low'" in said


@pytest.mark.integration
def test_answers_belong_to_what_was_asked(slow, held_out, tmp_path, capsys):
    """A server's weights cannot be seen: a finished score asks anew, one with more rows only when the old answers hold;
    a changed screen or folder of weights asks anew too."""
    tasks = tmp_path / "tasks"
    shutil.copytree(HELD_OUT_TASKS, tasks)
    line = ["--url", slow, "--data", str(held_out), "--images", str(tasks), "--out", str(tmp_path / "out")]

    def asks(*more: str) -> int:
        before = len(Slow.asked)
        assert score.main([*line, *more]) == 0
        return len(Slow.asked) - before

    assert asks("--limit", "3") == 3
    assert asks("--limit", "3") == 3
    assert "weights cannot be seen, so all rows are asked anew" in capsys.readouterr().err
    assert asks("--limit", "5") == 3 + 2  # three probes
    Slow.says = "tired"  # other weights behind the same name
    assert asks("--limit", "6") == 1 + 6
    screen = next(path for path in sorted(tasks.rglob("*.png")) if str(path) in first_screens(held_out, tasks))
    Image.new("RGB", Image.open(screen).size, "grey").save(screen)
    assert asks("--limit", "7") >= 2  # the seventh, and those of the changed screen
    assert score.main([*line, "--limit", "7", "--max_pixels", "50000"]) == 2  # in `resized` another place
    assert "holds answers with another max_pixels: choose another --out" in capsys.readouterr().err
    about = json.loads((tmp_path / "out" / "metrics.json").read_text())["about"]
    assert about["weights"].startswith("not seen; served since 20")
    assert about["data"][0]["sha256"] == file_digest(held_out)
    assert about["versions"]["transformers"]


def first_screens(file, tasks) -> set[str]:
    """Paths of the screens of the first six rows."""
    rows = [json.loads(text) for text in file.read_text().splitlines()[:6]]
    return {str(tasks / name) for row in rows for name in row["image"]}


def test_weights_are_known_by_content(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "trainer_state.json").write_text(str(folder))  # not what answers depend on
    assert weights_digest(first) == weights_digest(second)
    (second / "model.safetensors").write_bytes(b"Weights")
    assert weights_digest(first) != weights_digest(second)
    (second / "model.safetensors").write_bytes(b"weights")
    (second / "chat_template.jinja").write_text("other")
    assert weights_digest(first) != weights_digest(second)


def test_other_weights_answers_are_kept_apart(tmp_path):
    row, asked = {"content": "r"}, {"model": "m"}
    first = Answers(tmp_path, asked, "1" * 16)
    first.add({"content": "r", "completion": "one"})
    assert Answers(tmp_path, asked, "2" * 16).missing([row]) == [row]
    again = Answers(tmp_path, asked, "1" * 16)
    assert again.by_content["r"]["completion"] == "one"
    with pytest.raises(SettingError, match="answers with another model: choose another --out"):
        Answers(tmp_path, {"model": "n"}, "1" * 16)
    with open(tmp_path / "answers.jsonl", "a") as file:
        file.write("[1]\n")
    with pytest.raises(DataError, match=r"answers\.jsonl:2: not an answer .*delete the line"):
        Answers(tmp_path, asked, "1" * 16)


def test_a_model_that_is_not_there_is_one_line(tmp_path, capsys):
    """Of eval's own, before a server is started for it."""
    (tmp_path / "rows.jsonl").write_text("")
    line = ["--model", str(tmp_path / "gone"), "--data", str(tmp_path / "rows.jsonl"), "--images", str(tmp_path)]
    assert score.main([*line, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"eval: {tmp_path}/gone: no model folder (config.json is missing)\n"
    assert not (tmp_path / "out" / "server.log").exists()
