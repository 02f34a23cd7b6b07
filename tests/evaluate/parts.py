"""Small scores without a model: rows in files of their own, with their screens, and what `make eval` makes of them."""

import json
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from overlay.evaluate.protocols import PROTOCOLS
from overlay.evaluate.rows import rows_of
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template, render_question
from tests.stock import ROOT

SIZE = (100, 200)


def action(kind, parameter="", description=""):
    return json.dumps(
        {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": description},
        ensure_ascii=False,
    )


def fields(task="Open the clock", history=(), plan=None):
    return {
        "task_content": task, "task_path": plan or {"1": "Tap", "2": "Wait"}, "screen_path1": "", "screen_path2": "x",
        "history_path_all": list(history), "app_name": "clock", "action_type_list": {"click": "click"},
    }  # fmt: skip


def screen(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (colour % 256, colour // 256, 90)).save(path)


def row(image, gold, step=None, template="en", **said):
    """A row of one or two screens, as `make data` writes it, and what else it says."""
    step, images = step or fields(), image if isinstance(image, list) else [image]
    step = {**step, "screen_path1": "x" if len(images) == 2 else ""}
    question = render_question(load_template(template), step, template)
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": gold}]
    return {"image": images, "conversations": turns, **said}


def write(file: Path, rows: list[dict]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return file


def tree(root: Path, layout: str, tasks: int = 3, steps: int = 2, colour: int = 0) -> tuple[str, str]:
    """(data file, image folder) of tasks whose screens lie as `layout` (of task and step) says."""
    rows = []
    for task in range(1, tasks + 1):
        for step in range(1, steps + 1):
            name = layout.format(task=task, step=step)
            screen(root / "tasks" / name, colour + 10 * task + step)
            rows.append(row(name, action("wait"), fields(f"Do {task}", ["Tap"] * (step - 1))))
    return str(write(root / "rows.jsonl", rows)), str(root / "tasks")


def asked(data: str, images: str, protocol: str | None = None, limit: int = 0):
    """The rows that a score of these files asks."""
    args = Namespace(data=data, images=images, limit=limit)
    return rows_of(args, PromptStyle(), PROTOCOLS.get(protocol))


class Json(BaseHTTPRequestHandler):
    """Says little, and values as JSON; has one model."""

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

    def say(self, text):
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.reply({"id": "x", "object": "chat.completion", "created": 0, "model": "policy", "choices": [choice]})


def killed(module, line, answers, count):
    """Start a program, and kill it when the file `answers` has `count` lines; how many it has then, once the requests
    that were in flight have arrived, unheard."""
    process = subprocess.Popen([sys.executable, "-m", module, *line], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not answers.exists() or len(answers.read_bytes().splitlines()) < count:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    return len(answers.read_bytes().splitlines())


@contextmanager
def answering(reply):
    """(URL, how often each (task, step) of `tree` was asked, a pause in seconds as a list of one) of a server that says
    `reply(task, number)` at the numberth time, from 0; None is a refusal."""
    asked, pause, lock = Counter(), [0.0], threading.Lock()

    class Handler(Json):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            task = next(task for task in "123" if f"Do {task}" in body)
            time.sleep(pause[0])
            with lock:
                number = asked[task, body.count("Tap")]
                asked[task, body.count("Tap")] += 1
            text = reply(task, number)
            if text is None:
                return self.reply({"error": {"message": "no"}}, 400)
            return self.say(text)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/v1", asked, pause
    made.shutdown()
    made.server_close()
