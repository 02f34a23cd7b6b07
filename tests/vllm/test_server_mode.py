"""TRL's server mode against a real `vllm serve`; only the weights' way is a file's instead of NCCL's."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from overlay.serve.agreement import healthy
from tests.vllm.test_colocate import ROUNDING, SIZES, differences, length_reward, row_kinds  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def server(vllm_model, tmp_path_factory):
    """http://host:port of `vllm serve` as docs/training.md has it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    words = [
        Path(sys.executable).with_name("vllm"), "serve", vllm_model, "--host", "127.0.0.1", "--port", port,
        "--weight-transfer-config", json.dumps({"backend": "file"}), "--enable-scale-out",
        "--worker-extension-cls", "tests.vllm.file_transfer.Extension", "--logprobs-mode", "processed_logprobs",
        "--max-logprobs", -1, "--limit-mm-per-prompt", json.dumps({"image": 4, "video": 0}), "--dtype", "float32",
        "--max-model-len", 4096, "--enforce-eager",
    ]  # fmt: skip
    root = str(Path(__file__).parents[2])
    with open(log, "w") as out:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=out, stderr=out,
            env=os.environ | {"VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": root},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    while not healthy(url):
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.5)
    yield url
    process.terminate()
    process.wait()


def test_steps_with_any_number_of_images(server, length_reward, row_kinds, flags, vllm_model, tmp_path, monkeypatch):  # noqa: F811
    from trl import TrlParser

    from overlay.backends.trl.arguments import ARGUMENTS
    from overlay.backends.trl.train import train
    from tests.vllm.file_transfer import by_file

    by_file(monkeypatch, tmp_path)
    values = {
        "model_name_or_path": vllm_model, "data_file_paths": row_kinds, "use_vllm": "true", "vllm_mode": "server",
        "vllm_server_base_url": server, "max_steps": 6, "per_device_train_batch_size": 8, "num_generations": 4,
        "reward_funcs": "length", "learning_rate": 1e-2, "save_strategy": "no", "temperature": 1.0,
    }  # fmt: skip
    trainer = train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(**values, **SIZES)))
    found = differences(trainer)
    assert len(found) == 6
    assert max(found) < ROUNDING
