"""The score of a served model: killed and started again, looked at, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from overlay.evaluate.score import fields_of
from tests.conftest import CHROMIUM, needs_chromium
from tests.served_parts import HELD_OUT_TASKS
from tests.stock import ROOT

pytestmark = pytest.mark.integration


def run(module, *words):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


class Slow(BaseHTTPRequestHandler):
    """A server that takes its time, counts, and answers with the row's own text."""

    asked: ClassVar[list[int]] = []

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
    Slow.asked = []
    made = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()


def test_a_score_that_was_killed_asks_only_for_the_rest(slow, held_out, tmp_path):
    line = [
        "overlay.evaluate.score", "--url", slow, "--data", held_out, "--images", HELD_OUT_TASKS,
        "--out", tmp_path / "out", "--concurrency", 8,
    ]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", *map(str, line)], cwd=ROOT, stderr=subprocess.DEVNULL)
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
    done = run(*line)
    assert done.returncode == 0, done.stderr
    rows = len(held_out.read_text().splitlines())
    assert len(Slow.asked) - before == rows - kept  # none of the kept ones again
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["rows"] == rows
    assert run(*line, "--temperature", 1).returncode == 2  # other settings, other folder


@needs_chromium
def test_the_score_of_a_served_model_and_its_page(url, held_out, tiny_model_dir, tmp_path):
    out = tmp_path / "score"
    line = ["--name", tiny_model_dir, "--data", held_out, "--images", HELD_OUT_TASKS, "--max_tokens", 8, "--limit", 30]
    done = run("overlay.evaluate.score", "--url", url, *line, "--out", out)
    assert done.returncode == 0, done.stderr
    again = run("overlay.evaluate.score", "--url", url, *line, "--out", tmp_path / "second", "--compare", out)
    assert again.returncode == 0, again.stderr
    metrics = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert metrics["metrics"]["step_success_rate (box)"]["n"] == 30
    assert metrics["second_less_first"]["score"]["n"] == 30
    assert set(metrics["baselines"]) == {"random", "majority", "plan"}
    assert (tmp_path / "second" / "rows.csv").read_text().count("\n") == 31
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 1400})
        page.goto((tmp_path / "second" / "report.html").as_uri())
        assert "Score of second" in page.inner_text("h1")
        assert page.locator("svg").count() > 4
        shown = page.locator("article").count()
        page.select_option("#type", "click")
        clicks = page.locator("article").count()
        assert 0 < clicks < shown == 30
        assert all("gold click" in text for text in page.locator("article > div:first-child").all_inner_texts())
        page.screenshot(path=str(tmp_path / "page.png"))
        browser.close()
    assert Image.open(tmp_path / "page.png").size == (1250, 1400)


def test_bad_input_gets_one_line():
    done = run("overlay.evaluate.score", "--data", "a", "--images", "b", "--out", "c")
    assert done.returncode == 2
    assert "give either --model" in done.stderr.strip().splitlines()[-1]


def test_fields_are_found_behind_any_template():
    assert fields_of('say {"a" or {x}: then {"app_name": "微信", "history_path_all": []}')["app_name"] == "微信"
    assert fields_of("no JSON {") == {}
