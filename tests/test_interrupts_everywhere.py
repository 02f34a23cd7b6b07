"""Ctrl-C in every long command: while its modules are imported, when the heavy ones are, and in the middle of its work.

Each command runs in a process group of its own and is reached as a terminal's Ctrl-C reaches it (`tests/sigint`).
"""

import os
import shutil
import subprocess
import sys

import pytest

from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from tests.broken_server import broken_server
from tests.stock import ROOT, TASKS

pytestmark = pytest.mark.integration

TRAIN, SFT = "overlay.backends.trl.train", "overlay.backends.sft.train"
ASKING = [
    "--url", "{url}", "--name", "m", "--data", "{rows}", "--images", "{tasks}", "--out", "{new}", "--limit", "8",
    "--temperature", "1", "--concurrency", "1",
]  # fmt: skip
RUN = [
    "--model_name_or_path", "{model}", "--data_file_paths", "{rows}", "--image_folders", "{tasks}", "--arrow_cache_dir",
    "{new}", "--task_type", "gui", "--output_dir", "{new}", "--use_cpu", "true", "--bf16", "false", "--report_to",
    "none", "--per_device_train_batch_size", "4", "--max_steps", "2", "--save_steps", "1", "--gradient_checkpointing",
    "false", "--max_pixels", "9408",
]  # fmt: skip
GRPO = ["--num_generations", "2", "--max_completion_length", "8", "--reward_method", "gui_action"]
COMMANDS = {  # module: (its command line, a heavy import, a path that is opened in the middle)
    "data_prep.convert": (["{tasks}", "--out", "{new}/r.jsonl", "--workers", "1"], "PIL.Image", "step_1.json"),
    "data_prep.sources": (["aitz", "{empty}", "--out", "{new}"], "PIL.Image", None),
    "data_prep.check": (["{rows}", "--images", "{tasks}", "--workers", "1"], "PIL.Image", "rows.jsonl"),
    "data_prep.sample": (["{rows}"], "orjson", "rows.jsonl"),
    "data_prep.split": (["{rows}", "--out", "{new}"], "orjson", "rows.jsonl"),
    "data_prep.preview": (["{rows}", "--images", "{tasks}", "--out", "{new}/p.html"], "PIL.Image", "rows.jsonl"),
    TRAIN: ([*RUN, *GRPO], "torch", "rank00000.jsonl"),
    SFT: (RUN, "torch", "log.jsonl"),
    "overlay.nodes.estimate": (["--", *RUN, *GRPO], "torch", "rows.jsonl"),
    "overlay.nodes.launch": (["{new}", "torchrun", "--nproc_per_node", "1", "-m", TRAIN, *RUN, *GRPO],
                             "torch.distributed.run", "rank00000.jsonl"),
    "overlay.evaluate.score": (ASKING, "pandas", "answers.jsonl"),
    "overlay.evaluate.difficulty": (ASKING, "pandas", "answers.jsonl"),
    "overlay.evaluate.think": (ASKING, "PIL.Image", "answers.jsonl"),
    "overlay.serve.ask": (["--url", "{url}", "--name", "m", "--data", "{rows}", "--images", "{tasks}"], "openai", None),
    "overlay.serve.server": (["{model}", "--port", "{port}", "--unchecked"], "transformers", None),
    "overlay.serve.local": (["{model}", "--data", "{rows}", "--images", "{tasks}", "--index", "0"], "torch",
                            "tokenizer_config.json"),
    "overlay.play.run": (["--url", "{url}", "--name", "m", "--tasks", "click-test", "--out", "{new}"],
                         "playwright.sync_api", "episodes.jsonl"),
    "overlay.pages.rollouts": (["{run}"], "jinja2", "rank00000.jsonl"),
    "overlay.pages.watch": (["{run}", "--port", "0"], "jinja2", None),
    "overlay.model.adapter": (["{run}", "{new}"], "torch", "adapter_config.json"),
    "overlay.evaluate.export": (["{run}", "{new}"], "torch", "prompt_style.json"),
    "overlay.demo.run": (["--out", "{new}", "--seeds", "1", "--steps", "1"], "torch", "train.jsonl"),
    "overlay.demo.look": (["--out", "{new}"], "torch", None),
    "benchmarks.run": (["loading"], "torch", None),
    "benchmarks.gpu_check": (["--tiny", "--out", "{new}"], "torch", "gpu-check.json"),
}  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory, demo_rows, tiny_model_dir):
    """What stands for the words of the command lines."""
    root = tmp_path_factory.mktemp("everywhere")
    shutil.copy(demo_rows, root / "rows.jsonl")
    (root / "empty").mkdir()
    run = shutil.copytree(tiny_model_dir, root / "run")
    (run / "rollouts").mkdir()
    (run / "rollouts" / "rank00000.jsonl").write_text("{}\n")
    (run / "adapter_config.json").write_text("{}")
    write_style(PromptStyle(), run)
    with broken_server() as server:
        server.kind = "as usual"
        yield {
            "rows": root / "rows.jsonl", "tasks": TASKS / "train", "model": tiny_model_dir, "empty": root / "empty",
            "run": run, "url": server.url, "port": 18099,
        }  # fmt: skip


def stopped(module, moment, words, tmp_path):
    """(status, what it said) of a command that Ctrl-C reaches at a moment."""
    made = words | {"new": tmp_path / "new"}
    line = [sys.executable, "-m", module, *(part.format(**made) for part in COMMANDS[module][0])]
    own = {
        "PYTHONPATH": f"{ROOT / 'tests' / 'sigint'}:{ROOT}", "SIGINT_AT": moment, "OMP_NUM_THREADS": "1",
        "SIGINT_ONCE": str(tmp_path / "sent"), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    done = subprocess.run(
        line, capture_output=True, text=True, env=os.environ | own, cwd=ROOT, start_new_session=True, timeout=240
    )
    assert (tmp_path / "sent").exists(), f"{moment} never came: {done.stderr[-2000:]}"
    return done.returncode, done.stderr.splitlines()


def check(told):
    assert not [line for line in told if "Traceback" in line or "KeyboardInterrupt" in line], told
    assert len([line for line in told if "stopped" in line]) == 1, told


def own(module):
    """What the file of a module that `python -m` runs is called."""
    return "__main__" if (ROOT / module.replace(".", "/")).is_dir() else module.rpartition(".")[2]


def moments(number):
    return [
        pytest.param(module, moment, id=f"{module}-{moment}", marks=[pytest.mark.long] if number else [])
        for module, about in COMMANDS.items()
        if (moment := (f"open:{own(module)}.cpython-311.pyc", f"import:{about[1]}", f"open:{about[2]}")[number])
        and not moment.endswith(":None")
    ]


@pytest.mark.parametrize(("module", "moment"), moments(0))
def test_while_modules_are_imported(module, moment, words, tmp_path):
    assert stopped(module, moment, words, tmp_path) == (130, [f"{module}: stopped"])


@pytest.mark.parametrize(("module", "moment"), [*moments(1), *moments(2)])
def test_later(module, moment, words, tmp_path):
    status, told = stopped(module, moment, words, tmp_path)
    assert status == 130, told
    check(told)
