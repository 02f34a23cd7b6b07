"""TRL's server mode against a real `vllm serve`; only the weights' way is a file's instead of NCCL's."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.errors import RunStopped
from overlay.serve.agreement import healthy
from tests.backends.test_generate_ahead import completions
from tests.vllm.test_colocate import ROUNDING, SIZES, differences, length_reward, row_kinds  # noqa: F401  (fixtures)


@contextmanager
def serving(model, log):
    """(http://host:port of `vllm serve` as docs/training.md has it, its process), which leads a group of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [
        Path(sys.executable).with_name("vllm"), "serve", model, "--host", "127.0.0.1", "--port", port,
        "--weight-transfer-config", json.dumps({"backend": "file"}), "--enable-scale-out",
        "--worker-extension-cls", "tests.vllm.file_transfer.Extension", "--logprobs-mode", "processed_logprobs",
        "--max-logprobs", -1, "--limit-mm-per-prompt", json.dumps({"image": 4, "video": 0}), "--dtype", "float32",
        "--max-model-len", 4096, "--enforce-eager",
    ]  # fmt: skip
    root = str(Path(__file__).parents[2])
    with open(log, "a") as out:
        process = subprocess.Popen(
            [str(word) for word in words], stdout=out, stderr=out, start_new_session=True,
            env=os.environ | {"VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": root},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        while not healthy(url):
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.5)
        yield url, process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # one that was stopped and goes on may wait for its engine without end
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def server(vllm_model, tmp_path_factory):
    """(address, process) of a server that all tests of this module may use."""
    with serving(vllm_model, tmp_path_factory.mktemp("server") / "log") as started:
        yield started


@pytest.fixture
def run(length_reward, row_kinds, flags, vllm_model, tmp_path, monkeypatch):  # noqa: F811
    """Function (address, **flags) → the trainer of TRL's backend. Rows have any number of images."""
    from tests.vllm.file_transfer import by_file

    by_file(monkeypatch, tmp_path)

    def run(url, **changed):
        values = {
            "model_name_or_path": vllm_model, "data_file_paths": row_kinds, "use_vllm": "true", "vllm_mode": "server",
            "vllm_server_base_url": url, "max_steps": 6, "per_device_train_batch_size": 8, "num_generations": 4,
            "reward_funcs": "length", "learning_rate": 1e-2, "save_strategy": "no", "temperature": 1.0,
        } | SIZES | changed  # fmt: skip
        return train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(**values)))

    return run


def test_steps_with_any_number_of_images(server, run):
    found = differences(run(server[0]))
    assert len(found) == 6
    assert max(found) < ROUNDING


def test_the_next_batch_is_sampled_meanwhile_by_the_weights_before(server, run, tmp_path):
    """With weights that stay as they are it is sampled as it is trained on; with a seed a resume finds its rows and
    completions again."""
    still = run(server[0], generate_ahead=1, learning_rate=0, max_steps=4, output_dir=tmp_path / "still")
    assert differences(still, "generate_ahead/used") == [0, 1, 1, 1]
    assert max(differences(still)) < ROUNDING
    own = {"generate_ahead": 1, "learning_rate": 1e-5, "generation_kwargs": '{"seed": 5}', "save_strategy": "steps",
           "save_steps": 1, "max_steps": 5}  # fmt: skip
    whole = run(server[0], output_dir=tmp_path / "whole", **own)
    found = differences(whole)
    assert found[0] < ROUNDING < min(found[1:])
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "half" / "checkpoint-3")
    run(server[0], output_dir=tmp_path / "half", **own)
    after = [record for record in completions(tmp_path / "whole") if record[0] >= 3]
    assert after == completions(tmp_path / "half")


@pytest.mark.parametrize("own", [{}, {"lora": True}, {"generate_ahead": 1}], ids=["whole", "lora", "ahead"])
def test_vlm_r1s_trainer_has_a_server_too(server, vlm_r1_trainer, vllm_model, own, tmp_path, monkeypatch):
    from peft import LoraConfig

    from tests.vllm.file_transfer import by_file
    from tests.vllm.test_vlm_r1 import BASE, length

    by_file(monkeypatch, tmp_path)
    ahead = own.get("generate_ahead", 0)
    options = {"vllm_mode": "server", "vllm_server_base_url": server[0], "generate_ahead": ahead, "rollout_log_mb": 0}
    adapter = LoraConfig(r=8, lora_dropout=0.0, target_modules=["q_proj", "down_proj"]) if own.get("lora") else None
    settings = BASE | ({"learning_rate": 1e-5} if ahead else {})
    trainer = vlm_r1_trainer(
        [length], options, model_dir=vllm_model, peft_config=adapter, most=SIZES["max_pixels"], **settings
    )
    trainer.train()
    found = differences(trainer)
    assert len(found) == 3
    assert found[0] < ROUNDING
    assert (max(found) > ROUNDING) == bool(ahead)  # the weights of one step ago
    assert max(entry["grad_norm"] for entry in trainer.state.log_history[:-1]) > 0


def kept(fault, folder):
    """The step that a fault names: there is a checkpoint of those before it."""
    step = int(re.search(r"in step (\d+),", str(fault.value)).group(1))
    assert (folder / "run" / f"checkpoint-{step}").is_dir()
    return step


def test_a_server_that_is_killed_or_hangs_in_the_middle_of_a_step(vllm_model, run, tmp_path, monkeypatch):
    """One line; with the server started again, the run goes on from the step before."""
    from overlay.rewards import REWARDS

    own = {"generate_ahead": 1, "learning_rate": 1e-5, "vllm_request_timeout": 20}
    plain, log, seen = REWARDS["length"], tmp_path / "log", []

    def hurt(number):
        def reward(completions, **columns):
            seen.append(len(seen))
            if len(seen) == 2:
                os.killpg(process.pid, number)
            return plain(completions, **columns)

        seen.clear()
        monkeypatch.setitem(REWARDS, "length", reward)

    with serving(vllm_model, log) as (url, process):
        hurt(signal.SIGKILL)
        with pytest.raises(RunStopped, match=r"is gone\. Nothing was trained in step [23],") as gone:
            run(url, **own)
    assert kept(gone, tmp_path)
    with serving(vllm_model, log) as (url, process):  # at another address
        hurt(signal.SIGSTOP)
        with pytest.raises(RunStopped, match=r"gave no answer in 20 s \(--vllm_request_timeout\)\. ") as late:
            run(url, **own)
        os.killpg(process.pid, signal.SIGCONT)
    assert len(seen) >= 2  # it went on with what was generated, and then hung
    assert kept(late, tmp_path) >= kept(gone, tmp_path)


def test_other_weights_and_other_pixels_end_the_run(server, run, vllm_model, tmp_path, monkeypatch):
    """Pixels before anything is generated, weights that never arrive before the optimizer."""
    from trl.generation.vllm_client import VLLMClient

    from overlay.model.processor import write_limited

    write_limited(vllm_model, tmp_path / "small", 784, 84 * 112)
    with pytest.raises(RunStopped, match="its pixel limits are others"):
        run(server[0], model_name_or_path=tmp_path / "small", max_pixels=84 * 112, min_pixels=784)
    monkeypatch.setattr(VLLMClient, "update_named_params", lambda self, metadata, named: list(named))
    with pytest.raises(RunStopped, match="or weights of the sampler are not the trainer's"):
        run(server[0], output_dir=tmp_path / "other")
