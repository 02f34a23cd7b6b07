"""The launch script: what it starts, and what it refuses before anything loads."""

import os
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from trl import ModelConfig, TrlParser

from overlay.action.space import Space
from overlay.backends.sft.arguments import ARGUMENTS as SFT
from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.vlm_r1 import hooks
from overlay.errors import Refused
from overlay.patching.submodule import Submodule
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "run_scripts" / "run_grpo_gui.sh"


def run(**settings):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(SCRIPT)], capture_output=True, text=True, check=False, env=os.environ | {"PATH": path} | settings
    )


def flags_of(done, program):
    """The flags that follow the program in the command that was shown."""
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stderr.splitlines()[-1])
    assert words[0] == "torchrun"
    return words[words.index(program) + 1 :]


def test_every_flag_of_the_trl_command_is_known():
    line = flags_of(run(DRY_RUN="1", BACKEND="trl"), "overlay.backends.trl.train")
    parser = TrlParser(ARGUMENTS)
    values, unknown = ArgumentParser.parse_known_args(parser, line)
    assert unknown == []
    assert (values.num_generations, values.per_device_train_batch_size, values.max_prompt_length) == (8, 8, 4096)


def test_every_flag_of_the_supervised_command_is_known():
    """Judge, groups and vLLM are of no concern there."""
    grpo = {"METHOD": "llm", "JUDGE_MODEL": "m", "GENERATIONS": "5", "VLLM": "1", "BETA": "0.1"}
    done = run(DRY_RUN="1", BACKEND="sft", BATCH="4", NPROC_PER_NODE="1", **grpo)
    line = flags_of(done, "overlay.backends.sft.train")
    values, unknown = ArgumentParser.parse_known_args(TrlParser(SFT), line)
    assert unknown == []
    assert (values.per_device_train_batch_size, values.learning_rate, values.max_prompt_length) == (4, 1e-5, 4096)
    assert (values.output_dir, values.tokens_per_pass, values.eval_strategy) == ("runs/sft", 0, "no")
    table = done.stderr.splitlines()[:-1]
    assert {row.split()[0] for row in table if "(not in sft)" in row} == set(grpo)
    assert not [row for row in table if row.startswith("MAX_COMPLETION_LENGTH")]


def test_the_settings_of_the_block_reach_supervised_training():
    own = {
        "EVAL_DATA": "a.jsonl", "EVAL_STEPS": "7", "SAVE_STEPS": "9", "LORA_R": "4", "EPOCHS": "3", "ACCUMULATION": "2",
        "LEARNING_RATE": "2e-4", "TOKENS_PER_PASS": "500", "OUTPUT": "out",
    }  # fmt: skip
    line = flags_of(run(DRY_RUN="1", BACKEND="sft", **own), "overlay.backends.sft.train")
    values, unknown = ArgumentParser.parse_known_args(TrlParser(SFT), line)
    assert unknown == []
    assert (values.eval_data_file_paths, values.eval_strategy, values.eval_steps) == ("a.jsonl", "steps", 7)
    assert (values.save_steps, values.lora_r, values.lora_alpha, values.use_peft) == (9, 4, 8, True)
    assert (values.num_train_epochs, values.gradient_accumulation_steps, values.learning_rate) == (3, 2, 2e-4)
    assert (values.tokens_per_pass, values.output_dir) == (500, "out")


@pytest.mark.integration
def test_pixel_limits_are_the_models_where_nothing_else_is_said(tmp_path):
    write_style(PromptStyle(space=Space("resized", 784, 75_264)), tmp_path)
    for said, pixels in (({}, "75264"), ({"MAX_PIXELS": "5000"}, "5000"), ({"MODEL": "hub/name"}, "1003520")):
        done = run(DRY_RUN="1", BACKEND="sft", **({"MODEL": str(tmp_path)} | said))
        line = flags_of(done, "overlay.backends.sft.train")
        assert line[line.index("--max_pixels") + 1] == pixels
        row = next(row for row in done.stderr.splitlines() if row.startswith("MAX_PIXELS"))
        assert row.split(maxsplit=2)[1:] == [pixels, "environment" if "MAX_PIXELS" in said else "block"]


def test_every_flag_of_the_vlm_r1_command_is_known(tmp_path, monkeypatch):
    submodule = Submodule()
    try:
        submodule.unpack(tmp_path, "src/open-r1-multimodal/src")
    except Refused as refused:
        pytest.skip(f"NEEDS VLM-R1: {refused}")
    if submodule.state().word != "applied":
        done = run(DRY_RUN="1")
        assert done.returncode == 2
        assert "make patch" in done.stderr
    monkeypatch.syspath_prepend(str(tmp_path / "src/open-r1-multimodal/src"))
    from open_r1 import grpo_jsonl

    # The same command whether or not the work tree is patched just now: a stand-in `python` says that it is.
    (tmp_path / "python").write_text('#!/bin/sh\necho "VLM-R1: applied (stand-in)"\n')
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT)], capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DRY_RUN": "1"},
    )  # fmt: skip
    line = flags_of(done, "VLM-R1/src/open-r1-multimodal/src/open_r1/grpo_jsonl.py")
    own = grpo_jsonl.GRPOScriptArguments, grpo_jsonl.GRPOConfig, grpo_jsonl.GRPOModelConfig
    parser = hooks.parser(TrlParser, *own)
    values, unknown = ArgumentParser.parse_known_args(parser, line)
    assert unknown == []
    assert values.task_type == "gui"
    assert set(values.reward_funcs) <= set(grpo_jsonl.reward_funcs_registry)
    assert issubclass(grpo_jsonl.GRPOModelConfig, ModelConfig)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"NPROC_PER_NODE": "4", "BATCH": "1"}, "processes x batch = 4 is not divisible by GENERATIONS=8"),
        ({"DATA": "none.jsonl"}, "DATA: no file none.jsonl"),
        ({"DATA": str(SCRIPT), "IMAGES": "nowhere"}, "IMAGES: no folder nowhere"),
        ({"BACKEND": "other", "DRY_RUN": "1"}, "BACKEND=other is none of vlm-r1, trl, sft"),
        (
            {"BACKEND": "sft", "ESTIMATE": "1"},
            "BACKEND=sft: an estimate is of GRPO, BACKEND=vlm-r1 or trl",
        ),
    ],
)
def test_refusals(settings, message):
    done = run(**settings)
    assert done.returncode == 2
    assert done.stderr.strip() == f"run_grpo_gui.sh: {message}"


def test_a_judge_without_its_settings_is_refused():
    done = run(METHOD="gui_action:llm", DRY_RUN="1", BACKEND="trl", OPENAI_API_BASE="")
    assert done.returncode == 2
    assert "JUDGE_MODEL and OPENAI_API_BASE" in done.stderr
    done = run(METHOD="llm", JUDGE_MODEL="m", OPENAI_API_BASE="http://127.0.0.1:1/v1", DRY_RUN="1", BACKEND="trl")
    assert done.returncode == 0
    assert "--reward_method llm" in done.stderr
    assert "--judge_model m" in done.stderr
