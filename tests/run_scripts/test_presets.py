"""Where a setting comes from: flag, environment, preset, block, in this order; and every preset, loaded."""

import json
import os
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from trl import TrlParser

from overlay.backends.sft.arguments import ARGUMENTS as SFT
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.nodes.planned import read
from tests.presets import config_folder
from tests.stock import ROOT

SCRIPTS = ROOT / "run_scripts"
PRESETS = sorted(file.stem for file in (SCRIPTS / "presets").glob("*.env"))
NAMES = re.findall(r"^([A-Z_]+)=\"\$\{", (SCRIPTS / "run_grpo_gui.sh").read_text(), re.MULTILINE)


def run(*arguments, script="run_grpo_gui.sh", **settings):
    """(the table: name → (value, source), the command's words) of a dry run."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"DRY_RUN": "1", "BACKEND": "trl", "PATH": path} | settings
    done = subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], capture_output=True, text=True, env=os.environ | variables
    )
    assert done.returncode == 0, done.stderr
    *table, command = [line for line in done.stderr.splitlines() if not line.startswith("node ")]
    rows = (re.split(r"\s{1,}", line.strip(), maxsplit=1) for line in table)
    return {name: tuple(rest.rsplit(maxsplit=1)) for name, rest in rows}, shlex.split(command)


def value(words, flag):
    """The last one, as the parser takes it."""
    return [words[n + 1] for n, word in enumerate(words) if word == f"--{flag}"][-1]


def test_the_block_is_what_the_table_shows():
    names = re.findall(r"NAMES=\((.*?)\)", (SCRIPTS / "settings.sh").read_text(), re.DOTALL)[0].split()
    assert sorted(names) == sorted(NAMES)
    assert len(PRESETS) == 11


def test_the_order():
    table, words = run()
    assert (value(words, "num_generations"), table["GENERATIONS"]) == ("8", ("8", "block"))
    table, words = run(PRESET="1gpu-3b-lora")
    assert (value(words, "gradient_accumulation_steps"), table["ACCUMULATION"][0].split()) == ("4", ["4", "preset"])
    assert table["ACCUMULATION"][1] == "1gpu-3b-lora"
    table, words = run(PRESET="1gpu-3b-lora", ACCUMULATION="2")
    assert (value(words, "gradient_accumulation_steps"), table["ACCUMULATION"]) == ("2", ("2", "environment"))
    table, words = run("--gradient_accumulation_steps", "6", PRESET="1gpu-3b-lora", ACCUMULATION="2")
    assert value(words, "gradient_accumulation_steps") == "6"
    assert table["flags,"] == ("above all       --gradient_accumulation_steps", "6")


def test_what_the_environment_leaves_empty_is_not_given(tmp_path):
    table, words = run(DEEPSPEED="", LORA_R="", EXTRA="--seed 7", SAVE_LIMIT="2", EVAL_DATA="a.jsonl:b.jsonl")
    assert table["DEEPSPEED"] == ("(none)", "environment")
    assert "--deepspeed" not in words
    assert value(words, "dtype") == "float32"
    assert table["LORA_R"] == ("(none)", "block")
    assert (value(words, "seed"), value(words, "save_total_limit")) == ("7", "2")
    assert value(words, "eval_data_file_paths") == "a.jsonl:b.jsonl"


def test_several_nodes_have_the_same_block_and_presets():
    node = {"NNODES": "5", "NODE_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
    table, words = run("--beta", "0", script="run_grpo_gui_multinode.sh", PRESET="40gpu-7b-full", EPOCHS="3", **node)
    assert [value(words, name) for name in ("nnodes", "node_rank", "nproc_per_node")] == ["5", "1", "8"]
    assert table["MAX_PROMPT_LENGTH"][0].startswith("8192")
    assert table["MAX_PROMPT_LENGTH"][1] == "40gpu-7b-full"
    assert table["EPOCHS"] == ("3", "environment")
    assert table["METHOD"] == ("gui_action", "block")
    assert value(words, "beta") == "0"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fits_its_gpus(preset, tmp_path):
    """Every flag is known, and the memory of a GPU is within what the file says that it needs."""
    text = (SCRIPTS / "presets" / f"{preset}.env").read_text()
    data = tmp_path / "rows.jsonl"
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "1"}]
    data.write_text("".join(json.dumps({"id": n, "conversations": turns}) + "\n" for n in range(64)))
    model = str(config_folder(preset.split("-")[1].upper(), tmp_path))
    nodes, processes = (5, 8) if preset.startswith("40") else (1, int(preset.partition("gpu")[0]))
    own = {"MODEL": model, "DATA": str(data), "IMAGES": str(tmp_path), "ARROW_CACHE_DIR": str(tmp_path / "arrow")}
    _, words = run(PRESET=preset, **own)
    line = words[words.index("overlay.backends.trl.train") + 1 :]
    _, unknown = ArgumentParser.parse_known_args(TrlParser(ARGUMENTS), line)
    assert unknown == []
    assert int(value(words, "nproc_per_node")) == processes
    assert ("--use_peft" in words) == preset.endswith("lora")
    plan = read(line, nodes, processes)
    needs = sum(plan.memory().values()) / 1e9
    room = int(re.search(r"of (\d+) GB", text)[1]) if " GB" in text else 80
    assert needs < room, plan.memory()


@pytest.mark.parametrize("preset", ["1gpu-3b-lora", "40gpu-7b-full"])
def test_a_preset_of_supervised_training_computes_no_more_tokens_at_once(preset):
    """A batch there has a prompt for each row, not one for all."""
    node = {"NNODES": "5", "NODE_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
    many = preset.startswith("40")
    script = "run_grpo_gui_multinode.sh" if many else "run_grpo_gui.sh"
    table, words = run(script=script, PRESET=preset, BACKEND="sft", **(node if many else {}))
    line = words[words.index("overlay.backends.sft.train") + 1 :]
    values, unknown = ArgumentParser.parse_known_args(TrlParser(SFT), line)
    assert unknown == []
    assert values.learning_rate == 1e-5
    assert table["GENERATIONS"][0].split()[:3] == ["(not", "in", "sft)"]
    in_grpo = values.max_prompt_length + values.per_device_train_batch_size * 512
    assert values.max_prompt_length < values.tokens_per_pass <= in_grpo
    assert "--num_generations" not in words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PRESET": "9gpu"}, "PRESET=9gpu is none of 1gpu-3b-full 1gpu-3b-lora 1gpu-7b-lora 40gpu-3b-full"),
        ({"GENERATIONS": "many"}, "GENERATIONS=many: a whole number of at least 1"),
        ({"BATCH": "0"}, "BATCH=0: a whole number of at least 1"),
        ({"NPROC_PER_NODE": "-1"}, "NPROC_PER_NODE=-1: a whole number of at least 1"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT=0: a whole number of at least 1"),
        ({"LORA_R": "1.5"}, "LORA_R=1.5: a whole number of at least 1"),
        ({"DEEPSPEED": "none.json"}, "DEEPSPEED: no file none.json"),
        ({"BACKEND": "vlmr1"}, "BACKEND=vlmr1 is none of vlm-r1, trl, sft"),
        ({"BATCH": "5", "ACCUMULATION": "8", "BACKEND": "vlm-r1"}, "processes x batch = 5 is not divisible by"),
    ],
)
def test_refused_in_one_line(settings, message):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"DRY_RUN": "1", "BACKEND": "trl", "PATH": path, "NPROC_PER_NODE": "1"} | settings
    done = subprocess.run(
        ["bash", str(SCRIPTS / "run_grpo_gui.sh")], capture_output=True, text=True, env=os.environ | variables
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"run_grpo_gui.sh: {message}")


def test_groups_may_lie_in_several_batches_of_a_step_in_trl():
    _, words = run(BATCH="1", ACCUMULATION="8", NPROC_PER_NODE="1")
    assert value(words, "gradient_accumulation_steps") == "8"
