"""`make eval`: killed and started again, scored and looked at, set against other scores, and what is refused."""

import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from overlay.errors import SettingError
from overlay.evaluate import score
from tests.conftest import CHROMIUM, needs_chromium
from tests.served_parts import HELD_OUT_TASKS
from tests.stock import ROOT


class Slow(BaseHTTPRequestHandler):
    """A server that takes its time, counts, and answers every row alike; `refuses`: with an error instead."""

    asked: ClassVar[list[int]] = []
    refuses: ClassVar[bool] = False

    def log_message(self, *args):
        pass

    def reply(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "policy", "object": "model", "created": 0, "owned_by": "x"}]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if Slow.refuses:
            self.reply({"error": {"message": "no"}}, 400)
            return
        time.sleep(0.2)
        Slow.asked.append(hash(body))
        message = {
            "role": "assistant",
            "content": '<answer>{"action_type": "wait", "action_parameter": {"wait": ""}}</answer>',
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.reply({"id": "x", "object": "chat.completion", "created": 0, "model": "policy", "choices": [choice]})


@pytest.fixture
def slow():
    Slow.asked, Slow.refuses = [], False
    made = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()


@pytest.mark.integration
def test_a_score_that_was_killed_asks_only_for_the_rest(slow, held_out, tmp_path):
    line = ["--url", slow, "--data", str(held_out), "--images", HELD_OUT_TASKS, "--out", str(tmp_path / "out")]
    line += ["--concurrency", "8"]
    command = [sys.executable, "-m", "overlay.evaluate.score", *line]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    answers = tmp_path / "out" / "answers.jsonl"
    while not answers.exists() or len(answers.read_bytes().splitlines()) < 30:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(answers, "a") as file:
        file.write('{"key": "cut')  # as a write that was under way
    kept = len(answers.read_bytes().splitlines()) - 1
    time.sleep(0.5)  # requests in flight when it died arrive, unheard
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
    assert set(metrics["baselines"]) == {"random", "majority", "plan"}
    assert (tmp_path / "second" / "rows.csv").read_text().count("\n") == 31
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 1400})
        page.goto((tmp_path / "second" / "report.html").as_uri())
        assert "Score of second" in page.inner_text("h1")
        assert "step_success_rate (box)" in page.inner_text("table >> nth=0")
        assert page.locator("svg").count() > 4
        shown = page.locator("article").count()
        page.select_option("#type", "click")
        clicks = page.locator("article").count()
        assert 0 < clicks < shown == 30
        assert all("gold click" in text for text in page.locator("article > div:first-child").all_inner_texts())
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert Image.open(tmp_path / "page.png").size == (1250, 1400)


def test_bad_input_gets_one_line(capsys):
    line = ["--data", "a", "--images", "b", "--out", "c"]
    for more in ([], ["--model", "m", "--url", "u"]):
        assert score.main([*line, *more]) == 2
        assert capsys.readouterr().err == "eval: give either --model (a folder) or --url (a server)\n"


def test_a_table_that_names_the_default_rule_is_read(tmp_path):
    pd.DataFrame({"source": ["a"], "step_success_rate (box)": [True], "step_success_rate (0.14)": [True]}).to_csv(
        tmp_path / "rows.csv"
    )
    assert {"step_success_rate", "step_success_rate (0.14)"} <= set(score.read_table(tmp_path).columns)
    with pytest.raises(SettingError, match=r"--compare .*gone: no rows\.csv there"):
        score.read_table(tmp_path / "gone")


def test_fields_are_found_behind_any_template():
    assert score.fields_of('say {"a" or {x}: then {"app_name": "微信", "history_path_all": []}')["app_name"] == "微信"
    assert score.fields_of("no JSON {") == {}
