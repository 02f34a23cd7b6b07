"""No Python of a model folder, a checkpoint or a data file runs unless --trust_remote_code true is given."""

import json
import os
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from overlay.backends.trl import train as trl
from overlay.model import adapter, processor
from overlay.serve import local
from tests.stock import TASKS, run_stock, stock_command

pytestmark = pytest.mark.integration
AUTO = (
    "AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer",
    "AutoImageProcessor", "AutoVideoProcessor", "AutoModelForSequenceClassification",
)  # fmt: skip


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """The file that whatever runs writes; none may be there at the end. Modules of remote code go to this test."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "it-ran"


@pytest.fixture
def hostile(tiny_model_dir, copy_of, mark):
    """Function (name, **changes of config.json) → the tiny model's folder with Python in every place that a loader
    looks for some."""

    def make(name="hostile", **changed):
        folder = copy_of(tiny_model_dir, name)
        code = f"open({str(mark)!r}, 'a').write('ran')\n"
        (folder / "evil.py").write_text(code + "class Evil:\n    pass\n")
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(code + "def generate(model, **kwargs):\n    pass\n")
        for file in folder.glob("*.json"):
            content = json.loads(file.read_text())
            if file.name.endswith("config.json"):
                tokenizer = file.name.startswith("tokenizer")
                content["auto_map"] = {each: ["evil.Evil", "evil.Evil"] if tokenizer else "evil.Evil" for each in AUTO}
            if file.name == "config.json":
                content |= changed
            file.write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def pickled(tiny_model_dir, copy_of, mark):
    """The tiny model's folder with its weights as a pickle that bites."""
    folder = copy_of(tiny_model_dir, "pickled")
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    torch.save({"lm_head.weight": Bomb(mark)}, folder / "pytorch_model.bin")
    return folder


def test_the_bombs_are_live(hostile, pickled, mark, flags):
    """What the other tests look for is found when a folder is trusted, or a pickle read as one."""
    with pytest.raises(Exception):  # noqa: B017, PT011  the class that it brings along is none
        trl.train(*trl.TrlParser(trl.ARGUMENTS).parse_args_and_config(
            args=flags(model_name_or_path=hostile(model_type="evil"), trust_remote_code="true")))  # fmt: skip
    assert mark.exists()
    mark.unlink()
    torch.load(pickled / "pytorch_model.bin", weights_only=False)
    assert mark.exists()


def test_training_with_trl(hostile, pickled, flags, mark, capsys):
    settings = {"max_steps": 1, "save_strategy": "no", "beta": 0.04, "reward_funcs": "format"}
    assert trl.main(flags(model_name_or_path=hostile(), **settings)) == 0
    assert trl.main(flags(model_name_or_path=hostile("unknown", model_type="evil"), **settings)) == 2
    assert (
        "evil runs Python that comes with the model: read it, then say --trust_remote_code true"
        in (capsys.readouterr().err.splitlines()[-1])
    )
    assert trl.main(flags(model_name_or_path=pickled, **settings)) == 2
    assert "Weights only load failed" in capsys.readouterr().err.splitlines()[-1]
    assert not mark.exists()


@pytest.mark.slow
def test_training_with_vlm_r1(upstream, forks, hostile, demo_rows, mark, tmp_path):
    cache = {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    settings = {"forks": forks, "processes": 1, "max_steps": 1, "beta": 0.04, "variables": cache}
    run_stock(upstream, hostile(), demo_rows, tmp_path / "run", **settings)
    for name, kind in (("unknown", "evil_qwen"), ("intern", "internvl_chat"), ("native", "internvl")):
        command, variables = stock_command(upstream, hostile(name, model_type=kind), demo_rows, tmp_path / name)
        done = forks.run(command, tmp_path / f"{name}.log", variables=variables | cache, folder=upstream)
        assert done.statuses == [2], done.err[-2000:]
        assert f"{kind} runs Python that comes with the model" in done.err
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["known", "unknown", "pickle"])
def test_answering_and_merging(kind, hostile, pickled, tiny_model_dir, mark, tmp_path, capsys):
    folder = {"known": hostile, "unknown": lambda: hostile(model_type="evil"), "pickle": lambda: pickled}[kind]()
    base = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapter")
    for file in folder.glob("*.json"):
        if file.name != "config.json":
            shutil.copy(file, tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(folder)}))
    image = str(next(TASKS.glob("train/*/*.png")))
    lines = [
        lambda: local.main([str(folder), "--image", image, "--question", "?", "--max_tokens", "2"]),
        lambda: adapter.main([str(tmp_path / "adapter"), str(tmp_path / "merged")]),
        lambda: processor.main([str(folder), str(tmp_path / "limited")]),
    ]
    statuses = [line() for line in lines]  # the processor is none of its own
    assert statuses == ([0, 0, 0] if kind == "known" else [2, 2, 0]), capsys.readouterr().err
    assert not mark.exists()


def test_an_adapters_pickle(tiny_model_dir, mark, tmp_path):
    base = AutoModelForImageTextToText.from_pretrained(tiny_model_dir)
    get_peft_model(base, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({"x": Bomb(mark)}, tmp_path / "adapter" / "adapter_model.bin")
    shutil.copy(tiny_model_dir / "tokenizer_config.json", tmp_path / "adapter")
    assert adapter.main([str(tmp_path / "adapter"), str(tmp_path / "merged"), "--base", str(tiny_model_dir)]) == 2
    assert not mark.exists()


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "buffer_rank00000.pt"])
def test_a_resume(file, flags, mark, tmp_path, capsys):
    line = flags(max_steps=3, save_steps=1, num_iterations=2, reward_funcs="format", save_total_limit=1)
    stopped = [*line, "--max_steps", "1"]
    assert trl.main(stopped) == 0
    checkpoint = tmp_path / "run" / "checkpoint-1"
    assert (checkpoint / file).is_file(), sorted(path.name for path in checkpoint.iterdir())
    torch.save({"x": Bomb(mark)}, checkpoint / file)
    assert trl.main([*line, "--resume_changed", "true"]) == 2
    assert f"{checkpoint} cannot be read" in capsys.readouterr().err.splitlines()[-1]
    assert not mark.exists()
