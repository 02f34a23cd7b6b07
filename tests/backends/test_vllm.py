"""Generation through vLLM's server: TRL's own client, in our trainer, against a stand-in that keeps what it was sent.

No vLLM and no GPU here (tests/vllm/ has a real one): the version checks are told that it is installed, and the NCCL
broadcast of the weights is left out (its announcements over HTTP are not). What is checked is every argument and
image that travels.
"""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from trl import TrlParser
from trl.generation import vllm_client, vllm_generation

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train as train_with
from overlay.model.processor import load_processor, write_limited
from overlay.rewards import REWARDS
from tests.stock import TASKS

pytestmark = pytest.mark.integration
LIMIT = 84 * 112


class Server(ThreadingHTTPServer):
    """Answers as `vllm serve` with development endpoints does, as far as TRL reads it."""

    def __init__(self, processor):
        self.processor, self.requests = processor, []
        super().__init__(("127.0.0.1", 0), Handler)

    def of(self, path):
        return [body for name, body in self.requests if name == path]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def reply(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

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
        self.server.requests.append((self.path, body))
        if self.path == "/v1/chat/completions/render":
            images = [part for message in body["messages"] for part in message["content"]]
            return self.reply(
                {"features": {"mm_placeholders": {"image": [{"offset": 0, "length": 1} for _ in images]}}}
            )
        if self.path == "/inference/v1/generate":
            tokenizer = self.server.processor.tokenizer
            texts = [f"answer {n}" for n in range(body["sampling_params"]["n"])]
            choices = []
            for ids in tokenizer(texts)["input_ids"]:
                ids = [*ids, tokenizer.eos_token_id]
                entry = [{"token": f"token_id:{i}", "logprob": -1.0, "top_logprobs": []} for i in ids]
                choices.append({"token_ids": ids, "logprobs": {"content": entry}})
            return self.reply({"choices": choices})
        return self.reply({"success": True})


@pytest.fixture
def server(tiny_model_dir, monkeypatch):
    """The stand-in, with TRL believing in an installed vLLM."""

    def announce(self, metadata, named_params):
        self._start_weight_update()
        self._post(f"{self.base_url}/update_weights", json={"names": [name for name, *_ in metadata]})
        self._finish_weight_update()

    for module in (vllm_client, vllm_generation):
        monkeypatch.setattr(module, "is_vllm_available", lambda **_: True)
    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", lambda self, device: self.get_server_info())
    monkeypatch.setattr(vllm_client.VLLMClient, "update_named_params", announce)
    # The stand-in's log-probs are made up; the guard sees that.
    monkeypatch.setattr("overlay.training.trainer.slack_of", lambda args: float("inf"))
    monkeypatch.setitem(REWARDS, "length", lambda completions, **columns: [float(n) for n in range(len(completions))])
    server = Server(load_processor(str(tiny_model_dir)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def decoded(url):
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def line(model, rows, tmp_path, server, **changed):
    values = {
        "model_name_or_path": model, "data_file_paths": rows, "image_folders": TASKS / "train",
        "reward_funcs": "length",
        "arrow_cache_dir": tmp_path / "arrow", "max_pixels": LIMIT, "output_dir": tmp_path / "run", "max_steps": 2,
        "per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 16, "use_cpu": "true",
        "bf16": "false", "report_to": "none", "save_strategy": "no", "use_vllm": "true", "vllm_mode": "server",
        "vllm_server_base_url": f"http://127.0.0.1:{server.server_port}", "temperature": 0.7, "top_p": 0.9, "top_k": 5,
    } | changed  # fmt: skip
    return [str(part) for name, value in values.items() for part in (f"--{name}", value)]


def test_every_argument_and_image_reaches_the_server(server, tiny_model_dir, demo_rows, tmp_path):
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    trainer = train_with(*TrlParser(ARGUMENTS).parse_args_and_config(
        args=line(tmp_path / "limited", demo_rows, tmp_path, server)
    ))  # fmt: skip
    processor = trainer.processing_class
    sent, rendered = server.of("/inference/v1/generate"), server.of("/v1/chat/completions/render")
    assert len(sent) == 4  # two prompts in each of two steps, each asked for once with n completions
    image = processor.image_token_id
    for body in sent:
        assert body["model"] == "policy"
        assert {key: body["sampling_params"][key] for key in ("n", "temperature", "top_p", "top_k", "min_p")} == {
            "n": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0.0,
        }  # fmt: skip
        assert body["sampling_params"]["max_tokens"] == 16
        assert body["sampling_params"]["logprobs"] == 0
        # An image token can never be sampled.
        assert body["sampling_params"]["logit_bias"][str(image)] == -100
        # Where the images stand in the prompt is told in the prompt's own tokens.
        places = body["features"]["mm_placeholders"]["image"]
        marked = {i for place in places for i in range(place["offset"], place["offset"] + place["length"])}
        assert marked == {i for i, token in enumerate(body["token_ids"]) if token == image}
    # The screens travel whole, losslessly and in the order of the row.
    by_source = {example["source"]: example["image_path"] for example in trainer.train_dataset}
    shown = [
        [decoded(part["image_url"]["url"]) for part in message["content"]]
        for body in rendered
        for message in body["messages"]
    ]
    originals = {tuple(Image.open(path).convert("RGB").tobytes() for path in paths) for paths in by_source.values()}
    assert shown
    for screens in shown:
        assert tuple(screen.convert("RGB").tobytes() for screen in screens) in originals
    # The weights go to the server before each step's first prompt, under names, and its cache is emptied.
    order = [name for name, _ in server.requests]
    assert order.count("/update_weights") == order.count("/reset_prefix_cache") == 2
    assert order.index("/update_weights") < order.index("/inference/v1/generate")
    assert any("language_model" in name for name in server.of("/update_weights")[0]["names"])
    # What came back was trained on.
    assert trainer.state.global_step == 2


def test_other_pixel_limits_than_the_model_folders_are_refused(server, tiny_model_dir, demo_rows, tmp_path):
    with pytest.raises(ValueError, match=r"this run has 3136 to 9408.*python -m overlay\.model\.processor MODEL OUT"):
        train_with(*TrlParser(ARGUMENTS).parse_args_and_config(args=line(tiny_model_dir, demo_rows, tmp_path, server)))
    assert server.requests == []


def test_a_limited_folder_has_the_model_and_the_limits(tiny_model_dir, tmp_path):
    write_limited(tiny_model_dir, tmp_path / "limited", 3136, LIMIT)
    size = load_processor(str(tmp_path / "limited")).image_processor.size
    assert (size["shortest_edge"], size["longest_edge"]) == (3136, LIMIT)
    assert (tmp_path / "limited" / "model.safetensors").resolve() == tiny_model_dir.resolve() / "model.safetensors"
    assert (
        load_processor(str(tiny_model_dir)).image_processor.size["longest_edge"] != LIMIT
    )  # the original is as it was
