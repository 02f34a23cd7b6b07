"""A real server with the tiny model on loopback, asked by the client, scored and looked at; and what is refused."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from data_prep.convert import convert
from overlay.action.action import parse_action
from overlay.action.space import Space, rescale_action
from overlay.errors import SettingError
from overlay.evaluate.score import fields_of
from overlay.pages.picture import drawn
from overlay.prompt.template import load_template
from overlay.serve import client, local, server
from overlay.serve.server import served
from tests.conftest import CHROMIUM, needs_chromium, step_record
from tests.stock import ROOT, TASKS

pytestmark = pytest.mark.integration
FIRST = str(TASKS / "heldout")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows") / "held_out.jsonl"
    convert(TASKS / "heldout", out, load_template("zh"), decode=False)
    return out


@pytest.fixture(scope="module")
def url(tiny_model_dir, tmp_path_factory):
    with served(tiny_model_dir, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


def run(module, *words, **variables):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | variables,
    )  # fmt: skip


def test_a_row_is_asked_and_drawn(url, held_out, tiny_model_dir, tmp_path):
    done = run(
        "overlay.serve.client", "--url", url, "--name", tiny_model_dir, "--data", held_out, "--images", FIRST,
        "--index", 3, "--max_tokens", 16, "--out", tmp_path / "a.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("think\n", "answer\n", "action:", "gold\n{"))
    assert Image.open(tmp_path / "a.png").size == (336, 448)  # the screenshot's own


def test_a_task_file_is_asked(url, tiny_model_dir, tmp_path):
    for name in ("1.png", "2.png"):
        Image.new("RGB", (112, 168), "white").save(tmp_path / name)
    (tmp_path / "step_1.json").write_text(json.dumps(step_record(first="1.png", second="2.png")))
    line = [
        "--url",
        url,
        "--name",
        tiny_model_dir,
        "--task",
        tmp_path / "step_1.json",
        "--images",
        tmp_path,
        "--max_tokens",
        8,
    ]
    done = run("overlay.serve.client", *line, "--out", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr


def test_the_server_sees_as_many_tokens_as_training_counts(url, held_out, tiny_model_dir):
    """Pixel limits and template are the same: the server's count of the prompt is the trainer's."""
    from overlay.data.dataset import load_dataset
    from overlay.data.lengths import prompt_lengths
    from overlay.model.processor import load_processor
    from overlay.prompt.style import PromptStyle

    rows = load_dataset(str(held_out), FIRST).select([0, 3])
    lengths = prompt_lengths(rows, PromptStyle(), load_processor(str(tiny_model_dir)))

    async def ask():
        async with client.Client(client.Settings(url, str(tiny_model_dir), max_tokens=1)) as asked:
            return [
                (await asked.ask(PromptStyle().messages(row["problem"], len(row["image"])), row["image"])).prompt_tokens
                for row in rows
            ]

    assert asyncio.run(ask()) == lengths


def test_the_client_loads_no_torch():
    code = "import sys, overlay.serve.client; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_think_part_that_a_server_takes_out_is_put_back():
    from openai.types.chat import ChatCompletionMessage

    message = ChatCompletionMessage(role="assistant", content="<answer>{}</answer>", reasoning_content='{"a": 1}')
    assert client.whole(message) == '<think>{"a": 1}</think><answer>{}</answer>'
    assert client.whole(ChatCompletionMessage(role="assistant", content="<think>x</think>y")) == "<think>x</think>y"


def test_the_grammar_of_structured_output_is_the_format():
    answer = '{"action_type": "click", "action_parameter": {"click": "1,2,3,4"}, "action_description": "点\\"x\\""}'
    think = ", ".join(f'"{name}": "…"' for name in client._FIELDS)
    text = f"<think>{{{think}}}</think><answer>{answer}</answer>"
    assert re.fullmatch(client.PATTERN, text)
    assert parse_action(text).type == "click"
    assert not re.fullmatch(client.PATTERN, text.replace('"click",', '"fly",'))


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        ("overlay.serve.server", ["/nowhere"], "serve: /nowhere: no model folder"),
        (
            "overlay.serve.client",
            ["--url", "http://127.0.0.1:9/v1", "--data", "gone.jsonl", "--images", "."],
            "gone.jsonl",
        ),
        ("overlay.evaluate.score", ["--data", "a", "--images", "b", "--out", "c"], "give either --model"),
        (
            "overlay.serve.client",
            ["--url", "http://127.0.0.1:9/v1", "--images", "."],
            "give a data file (--data, make infer DATA=) or a step file",
        ),
        ("overlay.serve.local", ["model"], "give one of --data, --question and --refer"),
    ],
)
def test_bad_input_gets_one_line(module, line, message):
    done = run(module, *line)
    assert done.returncode == 2
    assert message in done.stderr.strip().splitlines()[-1]


def test_a_broken_row_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('\n{"id": 1\n')
    with pytest.raises(SettingError, match=r"rows\.jsonl:2: not JSON"):
        client.question_of_row(tmp_path / "rows.jsonl", 0)
    with pytest.raises(SettingError, match=r"rows\.jsonl: no row 1"):
        client.question_of_row(tmp_path / "rows.jsonl", 1)


def test_a_port_in_use_is_said(tiny_model_dir, url):
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(SettingError, match=rf"port {port} on 127.0.0.1: .*choose another PORT"):
        server.check(tiny_model_dir, "127.0.0.1", port)


def test_an_adapter_is_not_served(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SettingError, match="make merge ADAPTER="):
        server.check(tmp_path, "127.0.0.1", 0)


def test_vllm_gets_trainings_limits(tiny_model_dir):
    words = server.vllm_command(tiny_model_dir, "0.0.0.0", 8000, gpus=6)
    value = dict(pairwise(words))
    assert json.loads(value["--limit-mm-per-prompt"]) == {"image": 2, "video": 0}
    low, high = server.pixel_limits(tiny_model_dir)
    assert json.loads(value["--mm-processor-kwargs"]) == {"min_pixels": low, "max_pixels": high}
    assert (value["--max-model-len"], value["--tensor-parallel-size"]) == ("16384", "4")


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
        "overlay.evaluate.score", "--url", slow, "--data", held_out, "--images", FIRST, "--out", tmp_path / "out",
        "--concurrency", 8,
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
    line = ["--name", tiny_model_dir, "--data", held_out, "--images", FIRST, "--max_tokens", 8, "--limit", 30]
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


@needs_chromium
@pytest.mark.parametrize("size", [(360, 640), (1080, 2400), (1368, 2706), (800, 600)])
@pytest.mark.parametrize("space", ["original", "resized", "norm1000"])
def test_drawn_boxes_lie_on_the_doms(size, space, tmp_path):
    """The DOM's box of a button, said in the model's coordinates, is drawn on the screenshot where the button is."""
    html = "<body style='margin:0'><button style='position:absolute;left:23%;top:41%;width:31%;height:9%'>x</button>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_content(html)
        box = page.locator("button").bounding_box()
        page.screenshot(path=str(tmp_path / "screen.png"))
        browser.close()
    edges = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    gold = json.dumps({"action_type": "click", "action_parameter": {"click": ",".join(f"{v:.0f}" for v in edges)}})
    scale = Space(space, 3136, 401_408).scale(*size)
    action = parse_action(rescale_action(gold, scale))  # as a model that is right would answer
    image = drawn(str(tmp_path / "screen.png"), action, scale)
    blue = Image.new("RGB", (1, 1), "#1f5fd1").getpixel((0, 0))
    columns = [x for x in range(size[0]) for y in [round(sum(edges[1::2]) / 2)] if image.getpixel((x, y)) == blue]
    lines = [y for y in range(size[1]) for x in [round(sum(edges[::2]) / 2)] if image.getpixel((x, y)) == blue]
    slack = max(size) / 300 + max(size) / 1000 + 2  # the pen's width, and integers of a coarser space
    for found, first, last in ((columns, edges[0], edges[2]), (lines, edges[1], edges[3])):
        assert abs(min(found) - first) <= slack
        assert abs(max(found) - last) <= slack


def test_local_answers_are_those_of_the_server(url, held_out, tiny_model_dir, tmp_path):
    line = [tiny_model_dir, "--data", held_out, "--images", FIRST, "--index", 3, "--max_tokens", 12]
    done = run("overlay.serve.local", *line, "--out", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pictures" / "0.png").exists()
    asked = run(
        "overlay.serve.client", "--url", url, "--name", tiny_model_dir, "--data", held_out, "--images", FIRST,
        "--index", 3, "--max_tokens", 12, "--out", tmp_path / "a.png",
    )  # fmt: skip
    text = done.stdout.split("\n", 1)[1].strip()
    assert text in asked.stdout


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("<think>[1, 2, 3, 4]</think><answer>[10, 20, 30, 40]</answer>", (10, 20, 30, 40)),
        ('<answer>```json\n[{"bbox_2d": [10.5, 20, 30, 40]}]```</answer>', (10.5, 20, 30, 40)),
        ("the box is 10,20,30,40.", (10, 20, 30, 40)),
        ("<answer>nothing</answer>", None),
    ],
)
def test_boxes_of_referring_expressions(text, box):
    assert local.read_box(text) == box


def test_a_box_is_drawn_in_the_images_own_pixels(tmp_path):
    Image.new("RGB", (200, 400), "white").save(tmp_path / "s.png")
    image = local.draw_box(str(tmp_path / "s.png"), (10, 20, 50, 100), (0.5, 0.5))
    assert image.getpixel((20, 120)) != (255, 255, 255)
    assert image.getpixel((10, 60)) == (255, 255, 255)


def test_fields_are_found_behind_any_template():
    assert fields_of('say {"a" or {x}: then {"app_name": "微信", "history_path_all": []}')["app_name"] == "微信"
    assert fields_of("no JSON {") == {}


def test_help_has_the_words_of_make():
    done = run("overlay")
    assert done.returncode == 0
    makefile = (Path(ROOT) / "Makefile").read_text()
    for line in done.stdout.splitlines():
        if line.startswith("  make "):
            assert line.split(maxsplit=2)[2] in makefile
    assert done.stdout.count("  make ") >= 6
