"""A model that cannot be trained is one line in both backends, before anything loads."""

import json

import pytest

from data_prep import check
from overlay.backends.trl import train as trl
from overlay.backends.vlm_r1 import hooks
from overlay.errors import SettingError
from overlay.model.folder import check_model
from tests import families
from tests.stock import TASKS

pytestmark = pytest.mark.integration


def drop(name):
    def change(folder):
        for file in folder.glob(name):
            file.unlink()

    return change


def without(key):
    """Take a key out of every JSON file of the folder."""

    def change(folder):
        drop("chat_template*" if key == "chat_template" else "nothing")(folder)
        for file in folder.glob("*.json"):
            content = json.loads(file.read_text())
            content.pop(key, None)
            file.write_text(json.dumps(content))

    return change


BROKEN = {
    "gone": (drop("*"), "config"),
    "no weights": (drop("*.safetensors"), "no weights"),
    "no processor": (drop("*processor*"), "processor"),
    "no chat template": (without("chat_template"), "no chat template"),
    "no padding": (without("pad_token"), "no padding token"),
    "nested": (lambda folder: (folder / "config.json").write_text("[" * 100_000), "recursion depth"),
    "no type": (without("model_type"), "model_type"),
    "an adapter": (lambda f: (f / "config.json").rename(f / "adapter_config.json"), "is a LoRA adapter: make merge"),
}


@pytest.fixture(params=BROKEN)
def broken(request, tiny_model_dir, copy_of):
    """(folder, what the line says)."""
    folder = copy_of(tiny_model_dir, "broken")
    change, words = BROKEN[request.param]
    change(folder)
    return folder, words


def test_with_trl(broken, flags, capsys):
    folder, words = broken
    assert trl.main(flags(model_name_or_path=folder)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"train: --model_name_or_path {folder}")
    assert words in line


@pytest.fixture
def refused_by_vlm_r1(upstream, flags, monkeypatch, capsys):
    """Function (folder, **flags) -> the line with which the script's own first calls, up to its trainer, end."""
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1 import grpo_jsonl as script
    from trl import TrlParser

    def refused(folder, **own):
        line = flags(model_name_or_path=folder, reward_funcs="format", max_steps=1, dataset_name="none", **own)
        classes = script.GRPOScriptArguments, script.GRPOConfig, script.GRPOModelConfig
        arguments = hooks.parser(TrlParser, *classes).parse_args_and_config(args=line)
        with pytest.raises(SystemExit) as ended:
            script.main(*arguments)
        line = capsys.readouterr().err.splitlines()[-1]
        assert ended.value.code == 2, line
        return line

    return refused


def test_with_vlm_r1(broken, refused_by_vlm_r1):
    folder, words = broken
    line = refused_by_vlm_r1(folder)
    assert line.startswith(f"overlay: --model_name_or_path {folder}")
    assert words in line


def test_internvl_in_transformers_format(refused_by_vlm_r1, flags, demo_rows, tmp_path, capsys):
    """Its images are tiles; upstream's module runs the model's own code, which such a folder has not."""
    folder = families.write_internvl(tmp_path / "internvl")
    told = f"--model_name_or_path {folder}: GotOcr2ImageProcessor cuts images into tiles"
    assert trl.main(flags(model_name_or_path=folder, reward_funcs="format")) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert check.main([str(demo_rows), "--images", str(TASKS / "train"), "--processor", str(folder)]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    for trusted in ("false", "true"):
        assert "this folder names none (auto_map in config.json)" in refused_by_vlm_r1(
            folder, trust_remote_code=trusted
        )


def test_glm_counts_in_no_resized_image(refused_by_vlm_r1, flags, tmp_path, capsys):
    """Its processor has its own rule for an image's size."""
    folder = families.write("glm4v", tmp_path / "glm", ["a word"])
    told = "--coordinate_space resized: Glm4vImageProcessor does not resize an image of 1080 x 2400 as Qwen-VL's"
    assert trl.main(flags(model_name_or_path=folder, reward_funcs="format", coordinate_space="resized")) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert told in refused_by_vlm_r1(folder, coordinate_space="resized")


def test_a_model_of_another_kind(upstream, tiny_model_dir, copy_of, flags, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1 import grpo_jsonl as script

    folder = copy_of(tiny_model_dir, "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(SystemExit) as ended:
        script.get_vlm_module(str(folder))
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"overlay: --model_name_or_path {folder}: VLM-R1 trains no llama\n"


def test_code_of_its_own_is_trusted_by_the_user_alone(tiny_model_dir, copy_of):
    folder = copy_of(tiny_model_dir, "own")
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoConfig": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    check_model(str(folder), trusted=False)  # a type that transformers knows runs transformers' own code
    with pytest.raises(SettingError, match="read it, then say --trust_remote_code true"):
        check_model(str(folder), trusted=False, own_code=True)
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil"}))
    with pytest.raises(SettingError, match="evil runs Python that comes with the model"):
        check_model(str(folder), trusted=False)
    check_model(str(folder), trusted=True)
