"""Two ranks under ZeRO-3 and a vLLM server (the stand-in): it gets whole weights, and each rank its own completions."""

import hashlib
import json

import pytest
import torch
from transformers import AutoModelForImageTextToText

from overlay.model.processor import write_limited
from overlay.training.rollout_file import read
from tests.stock import ROOT, ZERO3, stock_command
from tests.vllm_standin import GENERATE, UPDATE, line, start_standin  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RANKS, STEPS = 2, 2
PIXELS = {"min_pixels": 784, "max_pixels": 84 * 112}


@pytest.mark.parametrize("backend", [pytest.param("trl", marks=pytest.mark.long), "vlm-r1"])
def test_whole_weights_and_own_completions(
    backend, start_standin, forks, upstream, tiny_model_dir, reward_model, demo_rows, tmp_path  # noqa: F811
):  # fmt: skip
    write_limited(tiny_model_dir, tmp_path / "limited", PIXELS["min_pixels"], PIXELS["max_pixels"])
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    server = start_standin(tmp_path / "limited")
    own = {"max_steps": STEPS, "deepspeed": config, "generate_ahead": 1, "learning_rate": 1e-3} | PIXELS
    vllm = {
        "use_vllm": "true", "vllm_mode": "server", "vllm_server_base_url": server.url, "save_strategy": "no",
        "reward_funcs": reward_model,
    }  # fmt: skip
    if backend == "trl":
        words = line(tmp_path / "limited", demo_rows, tmp_path, server, **own, reward_funcs="length")
        at = words.index("--use_cpu")
        command, variables, folder = ["-m", "overlay.backends.trl.train", *words[:at], *words[at + 2 :]], {}, ROOT
    else:
        command, variables = stock_command(
            upstream, tmp_path / "limited", demo_rows, tmp_path / "run", cpu=False, **own | vllm
        )  # fmt: skip
        folder = upstream
    paths = variables.get("PYTHONPATH", f"{ROOT}/tests/gloo:{ROOT}")
    variables["PYTHONPATH"] = f"{ROOT}/tests/standin:{paths}"
    ended = forks.run(command, tmp_path / "log", RANKS, variables=variables, folder=folder)
    assert ended.statuses == [0] * RANKS, ended.err[-4000:]
    sent = server.of(UPDATE)
    assert len(sent) == STEPS
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_dir, dtype=torch.float32)
    whole = hashlib.sha256()
    for name, weight in model.named_parameters():
        whole.update(name.encode() + weight.detach().numpy().tobytes())
    assert sent[0]["digest"] == whole.hexdigest() != sent[1]["digest"]
    assert len(server.of(GENERATE)) == STEPS * RANKS * 4 // 2  # each prompt once, for both ranks
    told = {record["completion"] for record in read(tmp_path / "run")}
    assert len(told) == STEPS * RANKS * 4
