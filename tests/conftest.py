"""Shared parts: a small task tree, rows made from it, a tiny model folder, and VLM-R1 with its patches."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from overlay.action.action import ACTION_NAMES
from overlay.errors import Refused
from overlay.patching.submodule import Submodule

# A shell's background job ignores Ctrl-C, and so would all that the tests start or interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.served_parts", "tests.training_parts"]
# Read when torch is loaded. Nothing here gains from a second thread, and on a busy machine torch's threads wait for
# each other ten times longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As make sets it. DeepSpeed compiles an extension for half a minute, and anew whenever it finds another `ninja` or
# other packages than last time: each environment keeps its own.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix, "torch_extensions")))

# No test may fail because the machine is busy: examples have no deadline, and slow generation is no fault.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
CHROMIUM = "/usr/bin/chromium"
needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="NEEDS CHROMIUM: apt-get install chromium")


left_out = pytest.StashKey[int]()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the long tests that are not run."""
    for item in items:
        item.config.stash[left_out] = item.config.stash.get(left_out, 0) + (item.get_closest_marker("long") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(left_out, 0):
        terminalreporter.section(f"NOT RUN: {count} long tests (make test-long)", sep="!")


def step_record(action: str = "click", parameter: str = "10,20,60,90", first: str = "", second: str = "") -> dict:
    """A step file's content; screens are file names or empty."""
    return {
        "input": {
            "task_content": '打开 {微信} 并搜索 "无锡"',
            "task_path": {"1": "点击搜索", "2": "输入无锡"},
            "screen_path1": first,
            "screen_path2": second,
            "history_path_all": ["点击搜索"] if first else [],
            "app_name": "微信",
            "action_type_list": ACTION_NAMES,
        },
        "output": {"action_type": action, "action_parameter": {action: parameter}, "action_description": "点击{搜索}"},
    }


def write_step(task: Path, number: int, record: dict | str) -> Path:
    """Write a step file; a string is written as it is."""
    task.mkdir(parents=True, exist_ok=True)
    path = task / f"step_{number}.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def task_tree(tmp_path: Path) -> Path:
    """Two tasks (9 before 10 by number), the second with steps 1, 2 and 10; 112x168 screens; things to ignore."""
    root = tmp_path / "tasks"
    for task, steps in (("10", (10, 1, 2)), ("9", (1,))):
        (root / task).mkdir(parents=True)
        for step in steps:
            Image.new("RGB", (112, 168), (step * 20, 90, 120)).save(root / task / f"{task}_{step}.png")
        for step in steps:
            previous = {1: "", 2: f"{task}_1.png", 10: f"{task}_2.png"}[step]
            write_step(root / task, step, step_record(first=previous, second=f"{task}_{step}.png"))
    (root / "notes").mkdir()
    (root / "10" / "step_x.json").write_text("not looked at")
    (root / "notes" / "step_1.json").write_text("not looked at")
    return root


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    """Folder of upstream's package at the pin with the series applied, unpacked aside so that the work tree of VLM-R1/
    stays as it is. Skipped loudly where the submodule cannot be had."""
    folder = tmp_path_factory.mktemp("vlm-r1")
    try:
        Submodule().unpack(folder, "src/open-r1-multimodal")
    except Refused as refused:
        pytest.skip(f"NEEDS VLM-R1: {refused}")
    return folder / "src" / "open-r1-multimodal"


@pytest.fixture(scope="session")
def forks():
    """Starts runs of one or more processes without their imports: see tests.ranks.ForkServer."""
    from tests.ranks import ForkServer

    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def pages():
    """Pages of Chromium, several at once, for work that is handed to them: see tests.browsers.Pages."""
    from tests.browsers import Pages

    made = Pages(2)
    yield made
    made.close()


@pytest.fixture(scope="session")
def demo_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's training rows as a data file."""
    from data_prep.convert import convert
    from overlay.prompt.template import load_template
    from tests.stock import TASKS

    out = tmp_path_factory.mktemp("rows") / "train.jsonl"
    convert(TASKS / "train", out, load_template("zh"), decode=False)
    return out


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory, demo_rows: Path) -> Path:
    """An untrained tiny Qwen2.5-VL with its processor."""
    from overlay.demo import tiny_model

    texts = [turn["value"] for line in demo_rows.open() for turn in json.loads(line)["conversations"]]
    processor = tiny_model.build_processor(texts)
    folder = tmp_path_factory.mktemp("model")
    tiny_model.save(tiny_model.build_model(processor, width=64, depth=2), processor, folder)
    return folder


@pytest.fixture(scope="session")
def reward_model(tiny_model_dir, tmp_path_factory):
    """Folder of a tiny reward model with one score."""
    import torch
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    from overlay.demo.chat import CHAT_TEMPLATE
    from overlay.model.processor import load_processor

    tokenizer = load_processor(str(tiny_model_dir)).tokenizer
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_labels=1, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "reward"
    Qwen2ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy_of(tmp_path: Path):
    """Function that copies a folder into this test's own place."""

    def copy(folder: Path, name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    return copy
