"""Each repair of upstream's classes and functions: what they do without it, and with it. The first half of such a test
fails when upstream has mended its side, and then the repair goes."""

import inspect
import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from trl import TrlParser

from overlay.backends.vlm_r1 import hooks
from overlay.backends.vlm_r1.module import TOKEN_TYPES, Module
from overlay.backends.vlm_r1.repairs import enlarge, over_completion
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle

pytestmark = pytest.mark.integration
OPTIONS = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": False}


def zeros(completions, **columns):
    return [0.0] * len(completions)


@pytest.fixture
def script(upstream, monkeypatch):
    """Upstream's script as a module of its package, with the series on it."""
    monkeypatch.syspath_prepend(str(upstream / "src"))
    from open_r1 import grpo_jsonl

    return grpo_jsonl


@pytest.fixture
def qwen(script):
    """Upstream's module for Qwen's models, which no patch touches."""
    return script.Qwen2VLModule()


def model_folder(path, model_type):
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    return str(path)


def test_the_class_is_that_of_the_config(qwen, tmp_path):
    folder = model_folder(tmp_path / "Qwen2-VL", "qwen2_5_vl")
    assert qwen.get_model_class(folder, {}).__name__ == "Qwen2VLForConditionalGeneration"
    with pytest.raises(ValueError, match="Unsupported model"):
        qwen.get_model_class(model_folder(tmp_path / "run1", "qwen2_5_vl"), {})
    settings = {"use_cache": False, "torch_dtype": "float32"}
    assert Module(qwen).get_model_class(folder, settings) is Qwen2_5_VLForConditionalGeneration
    assert settings == {"torch_dtype": "float32", "trust_remote_code": False}
    newer = Module(qwen).get_model_class(model_folder(tmp_path / "Qwen2.5-VL", "qwen3_vl"), {})
    assert newer is Qwen3VLForConditionalGeneration  # which upstream does not know
    with pytest.raises(ValueError, match="Unsupported model: qwen_9"):
        Module(qwen).get_model_class(model_folder(tmp_path / "other", "qwen_9"), {})


def test_the_reference_of_zero3_is_loaded_with_the_models_class(qwen, tiny_model_dir):
    assert "qwen2_5_vl" not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    Module(qwen).get_model_class(str(tiny_model_dir), {})
    reference = AutoModelForCausalLM.from_pretrained(tiny_model_dir, torch_dtype="bfloat16", attn_implementation="sdpa")
    assert type(reference) is Qwen2_5_VLForConditionalGeneration
    assert reference.dtype == torch.bfloat16
    assert reference.config._attn_implementation == "sdpa"


def test_models_get_what_upstream_writes_to(qwen):
    model = Qwen2_5_VLForConditionalGeneration.__new__(Qwen2_5_VLForConditionalGeneration)
    torch.nn.Module.__init__(model)
    assert not hasattr(model, "warnings_issued")
    Module(qwen).post_model_init(model, None)
    model.warnings_issued["estimate_tokens"] = True
    Module(qwen).post_model_init(model, None)  # the reference may be the same object
    assert model.warnings_issued == {"estimate_tokens": True}
    Module(qwen).post_model_init(None, None)


def test_each_sample_gets_its_own_grids(qwen, tiny_model_dir):
    processor = load_processor(str(tiny_model_dir), 784, 84 * 112)
    counts, style = [2, 0, 1], PromptStyle()
    prompts = [style.messages("<image>" * count + "What next?", count) for count in counts]
    texts = [processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True) for prompt in prompts]
    images = [Image.new("RGB", size) for size in ((56, 56), (84, 56), (56, 112))]
    _, theirs = qwen.prepare_model_inputs(processor, list(texts), images, **OPTIONS)
    inputs, ours = Module(qwen).prepare_model_inputs(processor, texts, images, **OPTIONS)
    assert (len(theirs), len(ours)) == (3, 3)  # images, samples
    assert [each["image_grid_thw"].tolist() for each in theirs] == [[1, 4, 4], [1, 4, 6], [1, 8, 4]]
    assert [each["image_grid_thw"].tolist() for each in ours] == [[[1, 4, 4], [1, 4, 6]], [], [1, 8, 4]]
    assert inputs["prompt_length"] == inputs["input_ids"].shape[1]
    assert Module(qwen).prepare_model_inputs(processor, texts[1:2], [], **OPTIONS)[1] is None


def test_the_log_prob_pass_gets_token_types_of_the_whole_sequence(qwen):
    assert TOKEN_TYPES not in qwen.get_custom_multimodal_keywords()
    assert TOKEN_TYPES in Module(qwen).get_custom_multimodal_keywords()
    assert "prompt_length" in Module(qwen).get_non_generate_params()
    types = torch.tensor([[0, 1, 1]])
    inputs = over_completion({"pixel_values": None, TOKEN_TYPES: types}, 5)
    assert inputs["pixel_values"] is None
    assert inputs[TOKEN_TYPES].tolist() == [[0, 1, 1, 0, 0]]
    assert over_completion(inputs, 5)[TOKEN_TYPES].tolist() == [[0, 1, 1, 0, 0]]
    assert over_completion({TOKEN_TYPES: None}, 5) == {}  # a model of an older release knows no such argument


def test_small_images_are_enlarged_in_upstreams_way_and_stay_shared():
    small, wide, tall, large = (Image.new("RGB", size) for size in ((14, 14), (41, 20), (20, 41), (28, 300)))
    rows = [{"image": [small, large]}, {"image": [small, wide, tall]}, {"image": []}, {"image_path": ["a.png"]}]
    enlarge(rows)
    assert [[image.size for image in row.get("image", [])] for row in rows] == [
        [(28, 28), (28, 300)], [(28, 28), (57, 28), (28, 57)], [], []
    ]  # fmt: skip
    assert rows[0]["image"][0] is rows[1]["image"][0]
    assert rows[0]["image"][1] is large


class Seen(Exception):
    """Ends a generation when its images have been prepared."""


def test_a_small_image_no_longer_shrinks_the_ones_after_it(vlm_r1_trainer, tmp_path):
    for name, size in (("small", (20, 40)), ("large", (112, 168))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    trainer = vlm_r1_trainer([zeros])
    from open_r1.trainer import VLMGRPOTrainer

    unrepaired = VLMGRPOTrainer._generate_and_score_completions

    def stop(processor, texts, images, **options):
        raise Seen([image.size for image in images])

    def sizes(generate):
        rows = [dict(trainer.train_dataset[0]) for _ in range(2)]
        for row, name in zip(rows, ("small", "large"), strict=True):
            row["image_path"] = [str(tmp_path / f"{name}.png")] * 2
        with pytest.raises(Seen) as seen:
            generate(rows, trainer.model)
        return seen.value.args[0]

    trainer.vlm_module.prepare_model_inputs = stop
    assert sizes(partial(unrepaired, trainer)) == [(28, 56)] * 4
    assert sizes(trainer._generate_and_score_completions) == [(28, 56)] * 2 + [(112, 168)] * 2


def test_upstreams_sampler_still_takes_no_dataset(vlm_r1_trainer):
    from open_r1.trainer import VLMGRPOTrainer

    assert list(inspect.signature(VLMGRPOTrainer._get_train_sampler).parameters) == ["self"]
    trainer = vlm_r1_trainer([zeros])
    assert list(trainer._get_train_sampler(trainer.train_dataset)) == list(trainer._get_train_sampler())


def test_the_module_is_chosen_by_the_models_type(script, tmp_path):
    theirs = script.get_vlm_module.__wrapped__
    named = model_folder(tmp_path / "internvl-like", "qwen2_5_vl")
    plain = model_folder(tmp_path / "run1", "qwen2_5_vl")
    assert theirs(named).__name__ == "InvernVLModule"
    assert [script.get_vlm_module(path).__name__ for path in (named, plain)] == ["Qwen2VLModule"] * 2
    assert script.get_vlm_module(model_folder(tmp_path / "qwen", "glm4v")).__name__ == "GLMVModule"


def test_glms_end_tokens_are_the_models_own(script, tmp_path):
    """Upstream's trainer asks any module that has the method, with the processor alone."""
    asked, theirs = "get_eos_token_id", script.get_vlm_module(model_folder(tmp_path / "glm", "glm4v"))()
    with pytest.raises(TypeError, match="'model'"):
        theirs.get_eos_token_id("a processor")
    assert not hasattr(Module(theirs), asked)
    intern = script.get_vlm_module(model_folder(tmp_path / "intern", "internvl_chat"))()
    assert hasattr(Module(intern), asked)
    assert not hasattr(Module(script.Qwen2VLModule()), asked)


@pytest.mark.parametrize(
    ("line", "file", "dtype", "budget"),
    [
        ([], "", "bfloat16", None),
        (["--torch_dtype", "float32", "--max_prompt_length", "4096"], "", "float32", 4096),
        ([], "torch_dtype: float16\nmax_prompt_length: 7\n", "float16", 7),
    ],
)
def test_the_parser_knows_the_dtype_and_no_budget_of_its_own(script, tmp_path, line, file, dtype, budget):
    (tmp_path / "config.yaml").write_text(file or "{}")
    line = ["--config", str(tmp_path / "config.yaml"), "--output_dir", str(tmp_path), "--dataset_name", "none", *line]
    line += ["--use_cpu", "true", "--bf16", "false"]
    theirs = script.GRPOScriptArguments, script.GRPOConfig, script.GRPOModelConfig
    assert script.GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False).max_prompt_length == 512
    _, training, model = hooks.parser(TrlParser, *theirs).parse_args_and_config(args=line)
    assert (model.torch_dtype, training.max_prompt_length) == (dtype, budget)
    assert type(training) is script.GRPOConfig  # it is pickled into checkpoints


def test_the_length_reward_tells_right_from_wrong(script, monkeypatch):
    assert "    acc_reward = 1.0\n    is_correct" in inspect.getsource(inspect.getmodule(script.format_reward))
    words = SimpleNamespace(encode=str.split)
    values = [[script.cosine_reward("a " * n, words, right) for n in (0, 512, 1024)] for right in (0.7, 0.69)]
    assert values[0] == pytest.approx([1.0, 0.75, 0.5])
    assert values[1] == pytest.approx([-0.5, -0.25, 0.0])
    # From the registry, on boxes: the first is the gold one, the second is not there.
    box = '[{"bbox_2d": [%d, 10, %d, 110], "label": "cat"}]'
    texts = [f"<answer>```json\n{box % (x, x + 100)}\n```</answer>" for x in (10, 800)]
    monkeypatch.setattr(script, "tokenizer", words)
    reward = script.reward_funcs_registry["length"]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    first, second = reward(completions=completions, solution=texts[:1] * 2, prompts=[None] * 2)
    assert first > 0.9
    assert second < 0
    assert reward.__name__ == "cosine_rewards"  # the metric's name


@pytest.mark.parametrize("name", ["length", "repetition"])
def test_debug_records_name_their_own_rows(script, name, tmp_path, monkeypatch):
    monkeypatch.setenv("DEBUG_MODE", "true")
    monkeypatch.setenv("LOG_PATH", str(tmp_path / "debug"))
    monkeypatch.setattr(script, "tokenizer", SimpleNamespace(encode=str.split))
    reward = script.reward_funcs_registry[name]
    columns = {
        "completions": [[{"role": "assistant", "content": f"text {n}"}] for n in range(3)],
        "solution": ["none", "none", "none"],
        "image_path": [["a.png"], ["b.png"], []],
        "problem": ["first", "second", "third"],
    }

    def problems(function):
        for file in tmp_path.glob("debug*"):
            file.unlink()
        scores = function(**columns)
        (file,) = tmp_path.glob("debug*")
        return scores, [line for line in file.read_text().splitlines() if line.startswith(("problem", "image_path"))]

    theirs, wrong = problems(reward.__wrapped__)
    ours, right = problems(reward)
    assert theirs == ours
    assert wrong == ["image_path: ['a.png']", "problem: first"] * 3
    assert right[::2] == ["image_path: ['a.png']", "image_path: ['b.png']", "image_path: []"]
    assert right[1::2] == ["problem: first", "problem: second", "problem: third"]
