"""Settings that need another one: `overlay.needs` is the one table, and both backends' command lines keep to it."""

import re
from dataclasses import fields

import pytest

from overlay.backends.trl.train import main
from overlay.errors import SettingError
from overlay.needs import NEEDS, OF_METHODS, check_methods
from overlay.prompt.template import LANGUAGES
from overlay.refused import REFUSED, defaults, refuse
from tests.backends.test_arguments import made, other_than
from tools.arguments import classes

# What makes a need unmet where the defaults meet it.
UNMET = {
    "overlong": {"max_prompt_length": None}, "patches": {"episodes": "live"}, "difficulty": {"episodes": "live"},
    "delta": {"loss_type": "vespo"}, "save_only_model": {"save_strategy": "no"},
    "gradient_checkpointing_kwargs": {"gradient_checkpointing": False}, "direct_share": {"thinking": False},
}  # fmt: skip
# Flags whose help names another one that they do not need.
FREE = {
    ("coordinate_space", "max_pixels"), ("prompt_template", "task_type"),  # beside gui it is the language of notes
    ("overlong", "max_prompt_length"), ("max_prompt_length", "overlong"),
    ("mask_truncated_completions", "max_completion_length"),
    ("use_bias_correction_kl", "beta"),
    ("eval_image_folders", "image_folders"), ("eval_reward_method", "reward_method"),  # what they stand in for
    ("resume_changed", "output_dir"),
}  # fmt: skip


def given_by(words):
    """The settings that a need's words name, first alternative."""
    found = re.findall(r"--(\w+) (above 0|[\w-]+)", words)
    values = {"true": True, "above 0": 1}
    return {name: values.get(value, value) for name, value in found} | {
        name: "x" for name in re.findall(r"--(\w+)", words) if name not in dict(found)
    }


def applied(kinds, settings):
    """Arguments objects with their defaults but for these settings, and the names among them that they have."""
    parts, taken = [made(kind) for kind in kinds], set()
    for part in parts:
        for name in settings.keys() & defaults(type(part)).keys():
            setattr(part, name, settings[name])
            taken.add(name)
    return parts, taken


@pytest.mark.parametrize("backend", REFUSED)
def test_a_setting_without_what_it_needs_is_refused(backend, upstream):
    kinds, seen = classes(backend, upstream), 0
    known = {name: value for kind in kinds for name, value in defaults(kind).items()}
    for need in NEEDS:
        unmet = UNMET.get(need.flags[0], {})
        for flag in need.flags:
            if flag not in known or flag in REFUSED[backend] or unmet.keys() - known.keys():
                continue
            own = {flag: other_than(known[flag])}
            with pytest.raises(SettingError) as refused:
                refuse(backend, *applied(kinds, unmet | own)[0])
            assert str(refused.value) == f"--{flag}: needs {need.words}: give that too, or leave --{flag} out"
            parts, taken = applied(kinds, own | given_by(need.words))
            if need.flags[0] in ("eval_image_folders", "greater_is_better"):  # whose need needs something itself
                parts, _ = applied(kinds, own | given_by(need.words) | {"eval_strategy": "steps"})
            refuse(backend, *parts)
            assert flag in taken
            seen += 1
    assert seen > {"trl": 60, "vlm-r1": 40, "sft": 30}[backend]


def test_what_depends_on_the_rows_methods():
    usual = {flag: None for need in OF_METHODS for flag in need.flags} | {"reward_funcs": ["accuracy"]}
    check_methods(usual, usual, {"gui_action"})
    for need, method in zip(OF_METHODS, ("llm", "gui_action"), strict=True):
        for flag in need.flags:
            with pytest.raises(SettingError, match=f"--{flag}: needs --reward_method {method}"):
                check_methods(usual | {flag: "x"}, usual, {"default"})
            check_methods(usual | {flag: "x"}, usual, {method})
    check_methods(usual | {"click_reward": "x", "reward_funcs": ["gui_action"]}, usual, ())


@pytest.mark.parametrize("backend", REFUSED)
def test_a_flag_whose_help_names_another_is_in_the_table(backend, upstream):
    kinds = classes(backend, upstream)
    names = {field.name for kind in kinds for field in fields(kind)}
    needed = {flag: set(given_by(need.words)) for need in (*NEEDS, *OF_METHODS) for flag in need.flags}
    own = [
        field for kind in kinds for base in kind.__mro__ if base.__module__.startswith("overlay.")
        for field in fields(base) if field.name in vars(base).get("__annotations__", {})
    ]  # fmt: skip
    assert len(own) > 15
    named = {
        (field.name, other) for field in own for other in re.findall(r"--(\w+)", field.metadata.get("help", ""))
        if other in names and field.name not in REFUSED[backend]
    }  # fmt: skip
    assert not {(flag, other) for flag, other in named - FREE if other not in needed.get(flag, ())}


def test_the_harmless_templates_are_the_languages():
    assert next(need.harmless for need in NEEDS if need.flags == ("prompt_template",)) == LANGUAGES


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"patches": 2}, "train: --patches: needs --episodes semi-online: give that too, or leave --patches out"),
        ({"vllm_mode": "server"}, "train: --vllm_mode: needs --use_vllm true: "),
        ({"judge_timeout": 4}, "train: --judge_timeout: needs --reward_method llm (or rows with that method), "),
        ({"click_reward": "point", "reward_method": "default"}, "train: --click_reward: needs --reward_method gui_"),
    ],
)
def test_in_one_line_before_the_model_loads(own, told, flags, capsys):
    assert main(flags(**own)) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)
