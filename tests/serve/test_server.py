"""What `make serve` refuses, and the command line that it becomes."""

import json
import shutil
import sys
import time
from itertools import pairwise

import pytest

from overlay.errors import SettingError
from overlay.model.processor import write_limited
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from overlay.serve import ask, server
from overlay.serve.agreement import agree


def test_no_model_gets_one_line(capsys):
    assert server.main(["/nowhere"]) == 2
    assert "serve: /nowhere: no model folder" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.integration
def test_a_port_in_use_is_said(tiny_model_dir, url):
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(SettingError, match=rf"port {port} on 127.0.0.1: .*choose another PORT"):
        server.check(tiny_model_dir, "127.0.0.1", port)


def test_an_adapter_is_not_served(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SettingError, match="make merge ADAPTER="):
        server.check(tmp_path, "127.0.0.1", 0)


@pytest.mark.integration
def test_vllm_gets_what_the_checkpoint_says(tiny_model_dir):
    words = server.vllm_command(tiny_model_dir, "0.0.0.0", 8000, gpus=6)
    value = dict(pairwise(words))
    assert json.loads(value["--limit-mm-per-prompt"]) == {"image": 2, "video": 0}
    low, high = server.pixel_limits(tiny_model_dir)
    assert json.loads(value["--mm-processor-kwargs"]) == {"min_pixels": low, "max_pixels": high}
    assert (value["--max-model-len"], value["--dtype"], value["--tensor-parallel-size"]) == ("4096", "float32", "4")
    assert "--enforce-eager" not in words
    assert "--enforce-eager" in server.vllm_command(tiny_model_dir, "0.0.0.0", 8000, gpus=0)


@pytest.mark.integration
def test_vllm_takes_the_earlier_screens_too(tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    write_style(PromptStyle(history_screens=3), folder)
    for asked, images in ((None, 5), (4, 4)):
        words = server.vllm_command(folder, "0.0.0.0", 8000, gpus=1, images=asked)
        assert json.loads(dict(pairwise(words))["--limit-mm-per-prompt"])["image"] == images


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"text_config": {"max_position_embeddings": 128_000, "dtype": "bfloat16"}}, (16_384, "bfloat16")),
        ({"max_position_embeddings": 2048, "torch_dtype": "float16"}, (2048, "float16")),  # older releases' layout
        ({}, (16_384, "auto")),
    ],
)
def test_context_and_dtype_are_the_configs(config, told, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert server.context_and_dtype(tmp_path) == told


@pytest.mark.integration
def test_vllm_where_there_is_none_is_one_line(tiny_model_dir, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(server.sys, "executable", str(tmp_path / "python"))
    assert server.main([str(tiny_model_dir), "--port", "18099", "--backend", "vllm"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("make vllm, then make serve VENV=.venv-vllm")


@pytest.mark.integration
def test_another_count_of_a_prompts_tokens_is_refused(tiny_model_dir, url, tmp_path):
    write_limited(tiny_model_dir, tmp_path / "limited", 784, 84 * 112)
    agree(url, str(tiny_model_dir), tiny_model_dir)
    with pytest.raises(SettingError, match=r"a prompt with two screens has \d+ tokens there and \d+ in training"):
        agree(url, str(tiny_model_dir), tmp_path / "limited")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Function: a model folder, in whose place a program serves that does what its text says."""

    def start(text):
        (tmp_path / "serves.py").write_text(text)
        monkeypatch.setattr(server, "PROGRAM", [sys.executable, str(tmp_path / "serves.py")])
        return tmp_path / "model"

    return start


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_server_that_never_gets_ready_is_not_waited_for(program, stubborn, tmp_path, monkeypatch):
    """It is killed where it does not end, and its last words are said; a dead proxy changes nothing."""
    monkeypatch.setattr(server, "END_LIMIT", 0.3)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    model = program(deaf + "print('loading shard 1', flush=True)\nimport time; time.sleep(60)")
    started = time.monotonic()
    with (
        pytest.raises(SettingError, match=r"was not ready within 1 s: loading shard 1 \(all of it: "),
        server.served(model, tmp_path / "log", limit=1),
    ):
        pass
    assert time.monotonic() - started < 20


def test_a_server_that_ends_has_its_last_line_said(program, tmp_path):
    model = program("print('out of memory'); raise SystemExit(1)")
    with (
        pytest.raises(SettingError, match=r"ended: out of memory \(all of it: "),
        server.served(model, tmp_path / "log"),
    ):
        pass


READY = """
import shutil
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[3])), Handler).serve_forever()
"""


def test_readiness_is_asked_without_a_proxy(program, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(server, "agree", lambda *_: None)  # it only says that it is ready
    with server.served(program(READY), tmp_path / "log", limit=30) as url:
        assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("port", ["0", "-1", "70000"])
def test_a_port_that_is_none_is_said(port, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text('{"min_pixels": 1, "max_pixels": 2}')
    assert server.main([str(tmp_path), "--port", port]) == 2
    assert port in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "null", ""])
def test_a_broken_file_of_a_model_is_named(broken, content, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    (tmp_path / broken).write_text(content)
    (tmp_path / "step.json").write_text('{"task_content": "a"}')
    line = ["--url", "http://127.0.0.1:9/v1", "--name", str(tmp_path), "--task", str(tmp_path / "step.json")]
    assert ask.main([*line, "--images", str(tmp_path), "--out", str(tmp_path / "a.png")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"infer: {tmp_path / broken}: no")


def test_without_vllm_the_number_of_images_is_not_asked_for(tiny_model_dir):
    line = server.command_line(tiny_model_dir, "127.0.0.1", 8000, "transformers")
    assert "serve" in line
    for images in (2, 3):
        with pytest.raises(SettingError, match=f"--images {images}: needs vLLM"):
            server.command_line(tiny_model_dir, "127.0.0.1", 8000, "transformers", images)
