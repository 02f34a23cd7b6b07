"""A stand-in for vLLM's server, as far as TRL's client reads it. It keeps what it was sent; tests/vllm/ has a real one.

No vLLM and no GPU: the version checks are told that it is installed, and the NCCL broadcast of the weights is left out
(its announcements over HTTP are not; they say the weights' digest). What it answers follows from prompt and weights
alone.

    python -m tests.vllm_standin FLAGS        a rank of the TRL backend that believes in it
"""

import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from trl.generation import vllm_client, vllm_generation

from overlay.model.processor import load_processor
from overlay.rewards import REWARDS
from overlay.training import trainer
from tests.stock import TASKS

LIMIT = 84 * 112
GENERATE, RENDER, UPDATE = "/inference/v1/generate", "/v1/chat/completions/render", "/update_weights"


class Hangup(Exception):
    """Raised by `before`: the connection is closed after so many bytes of the answer; without a word for None."""

    def __init__(self, after: int | None = None):
        self.after = after


class Server(ThreadingHTTPServer):
    """Answers as `vllm serve` with development endpoints does. `before(path, body)` is called before each answer."""

    daemon_threads = True

    def __init__(self, processor):
        self.processor, self.requests, self.weights = processor, [], ""
        self.before: Callable[[str, dict], None] = lambda path, body: None
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, path):
        return [body for name, body in self.requests if name == path]

    def handle_error(self, *_):
        """A client that hung up is no news."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def reply(self, value, end=None):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:end])

    def do_GET(self):
        values = {
            "/health": {}, "/v1/models": {"data": [{"id": "policy"}]}, "/get_world_size": {"world_size": 1},
            "/server_info": {"vllm_config": {
                "weight_transfer_config": {"backend": "nccl"},
                "model_config": {"logprobs_mode": "processed_logprobs"},
            }},
        }  # fmt: skip
        self.reply(values[self.path.split("?")[0]])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        try:
            self.server.before(self.path, body)
        except Hangup as hangup:
            self.close_connection = True
            if hangup.after is not None:
                self.reply(self.answer(body), hangup.after)
            return
        self.server.requests.append((self.path, body))
        self.reply(self.answer(body))

    def answer(self, body):
        if self.path == RENDER:
            images = [decoded(part["image_url"]["url"]) for message in body["messages"] for part in message["content"]]
            grids = self.server.processor.image_processor(images)["image_grid_thw"]
            places = [{"offset": 0, "length": int(grid.prod()) // 4} for grid in grids]
            return {"features": {"mm_placeholders": {"image": places}}}
        if self.path == GENERATE:
            return {"choices": [self.choice(body, n) for n in range(body["sampling_params"]["n"])]}
        if self.path == UPDATE:
            self.server.weights = body["digest"]
        return {"success": True}

    def choice(self, body, number):
        tokenizer = self.server.processor.tokenizer
        seen = f"{self.server.weights} {body['token_ids']} {number}"
        text = f"answer {hashlib.sha256(seen.encode()).hexdigest()[:4]}"
        ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        entry = [{"token": f"token_id:{i}", "logprob": -1.0, "top_logprobs": []} for i in ids]
        return {"token_ids": ids, "logprobs": {"content": entry}}


def decoded(url):
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def announce(self, metadata, named_params):
    """TRL's announcements of new weights, without the broadcast."""
    digest = hashlib.sha256()
    self._start_weight_update()
    for name, weight in named_params:
        digest.update(name.encode() + weight.detach().cpu().numpy().tobytes())
    names = [name for name, *_ in metadata]
    self._post(f"{self.base_url}{UPDATE}", json={"names": names, "digest": digest.hexdigest()})
    self._finish_weight_update()


def believe(put=setattr):
    """Let TRL believe in an installed vLLM, and a run in the stand-in's made-up log-probs. `put`: see setattr."""
    for module in (vllm_client, vllm_generation):
        put(module, "is_vllm_available", lambda **_: True)
    put(vllm_client.VLLMClient, "init_communicator", lambda self, device: self.get_server_info())
    put(vllm_client.VLLMClient, "update_named_params", announce)
    put(trainer, "slack_of", lambda args: float("inf"))
    REWARDS["length"] = lambda completions, **columns: [float(n) for n in range(len(completions))]


@pytest.fixture
def start_standin(monkeypatch):
    """Function (model folder) → a stand-in, which TRL takes for vLLM's server."""
    believe(monkeypatch.setattr)
    running = []

    def start(folder):
        running.append(Server(load_processor(str(folder))))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
    REWARDS.pop("length", None)


def line(model, rows, tmp_path, server, **changed):
    """A small run's command line of the TRL backend."""
    values = {
        "model_name_or_path": model, "data_file_paths": rows, "image_folders": TASKS / "train",
        "reward_funcs": "length",
        "arrow_cache_dir": tmp_path / "arrow", "max_pixels": LIMIT, "output_dir": tmp_path / "run", "max_steps": 2,
        "per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 16, "use_cpu": "true",
        "bf16": "false", "report_to": "none", "save_strategy": "no", "use_vllm": "true", "vllm_mode": "server",
        "vllm_server_base_url": server.url, "temperature": 0.7, "top_p": 0.9, "top_k": 5,
    } | changed  # fmt: skip
    return [str(part) for name, value in values.items() for part in (f"--{name}", value)]


if __name__ == "__main__":
    from overlay.backends.trl.train import main

    believe()
    raise SystemExit(main())
