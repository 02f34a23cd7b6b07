"""Each workaround of another library is still needed: a test here fails when that library has mended its side, and then
the workaround goes."""

import logging
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, Trainer, TrainingArguments

from overlay.backends.trl import workarounds
from overlay.model.processor import load_processor
from overlay.model.vision import keep_in_step
from overlay.training.weights import load_weights

pytestmark = pytest.mark.integration


@pytest.fixture
def model(tiny_model_dir):
    return AutoModelForImageTextToText.from_pretrained(tiny_model_dir)


def test_trainer_still_resumes_from_the_base_weights(model, tmp_path):
    """transformers 5: keys of a Qwen2.5-VL checkpoint match nothing, strict=False says nothing."""
    trained = AutoModelForImageTextToText.from_pretrained(model.name_or_path)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1)
    trained.save_pretrained(tmp_path)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = Trainer(model, TrainingArguments(str(tmp_path / "out"), use_cpu=True, report_to="none"))
    trainer._load_from_checkpoint(str(tmp_path))
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())
    assert load_weights(model, str(tmp_path))
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_text_only_pass_still_leaves_the_vision_tower_out(model):
    inputs = load_processor(model.name_or_path)(text="<|im_start|>user\n", return_tensors="pt")

    def gradients():
        model.zero_grad(set_to_none=True)
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        return [p.grad is not None for name, p in model.named_parameters() if "visual" in name]

    assert not any(gradients())
    keep_in_step(model)
    assert all(gradients())


def test_trl_still_prints_a_row_without_any_score(caplog):
    from accelerate import PartialState

    PartialState()
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", is_main_process=True), args=SimpleNamespace(report_to=[]),
        reward_funcs=[lambda **columns: [None, 1.0]], reward_func_names=["gaps"], reward_processing_classes=[None],
        state=SimpleNamespace(global_step=0), environments=None, _log_completion_extra=None, _log_metric=None,
    )  # fmt: skip

    def told():
        caplog.clear()
        rewards = workarounds.grpo_trainer.GRPOTrainer._calculate_rewards(
            trainer, [{"source": "a"}] * 2, ["p"] * 2, ["c"] * 2, [[1]] * 2
        )
        assert rewards[0].isnan()
        return [record.getMessage() for record in caplog.records if "returned None" in record.getMessage()]

    logger = logging.getLogger(workarounds.grpo_trainer.__name__)
    before = list(logger.filters)
    logger.filters.clear()
    try:
        assert "'source': 'a'" in told()[0]
        workarounds.install_for_episodes()
        workarounds.install_for_episodes()
        assert told() == []
        assert len(logger.filters) == 1
    finally:
        logger.filters[:] = before


def test_trl_still_gathers_prompts_with_their_images(flags, monkeypatch):
    from trl import TrlParser

    from overlay.backends.trl.arguments import ARGUMENTS
    from overlay.backends.trl.train import train

    handed, gathered = [], []
    monkeypatch.setattr(workarounds.grpo_trainer, "gather_object", lambda objects: gathered.append(objects) or objects)
    workarounds.install(None, 2)
    light = workarounds.grpo_trainer.gather_object
    workarounds.install(None, 2)  # twice is once
    assert workarounds.grpo_trainer.gather_object is light
    spy = lambda objects: handed.append(objects) or light(objects)  # noqa: E731
    setattr(spy, workarounds.MARK, True)
    monkeypatch.setattr(workarounds.grpo_trainer, "gather_object", spy)
    train(*TrlParser(ARGUMENTS).parse_args_and_config(args=flags(max_steps=1, save_strategy="no")))
    assert images_in(handed)
    assert not images_in(gathered)


def test_trl_still_reads_one_name_of_a_sampled_token():
    """vLLM 0.32 says `token_id`, a number."""
    entry = {"token_id": 7, "logprob": -0.5, "top_logprobs": [{"token_id": 8, "logprob": -0.7}]}
    client = workarounds.vllm_client
    with pytest.raises(KeyError):
        getattr(client.parse_logprobs, "__wrapped__", client.parse_logprobs)([{"content": [dict(entry)]}])
    workarounds.install_for_vllm()
    ours = client.parse_logprobs
    workarounds.install_for_vllm()  # twice is once
    assert client.parse_logprobs is ours
    assert ours([{"content": [entry]}]) == ([[[-0.5, -0.7]]], [[[7, 8]]])
    older = {"token": "token_id:7", "logprob": -0.5, "top_logprobs": []}
    assert ours([{"content": [older]}]) == ([[[-0.5]]], [[[7]]])
    assert ours([None]) == (None, None)


def test_processors_still_refuse_none_among_images(tiny_model_dir):
    """What TRL hands over for a row without images."""
    processor = load_processor(str(tiny_model_dir))
    kind = type("Own", (type(processor.image_processor),), {})
    own = kind(**processor.image_processor.to_dict())
    image = Image.new("RGB", (56, 56))
    if not hasattr(kind.fetch_images, workarounds.MARK):  # by an earlier test of this process
        with pytest.raises(TypeError, match="NoneType"):
            own.fetch_images([[image], None])
    workarounds.install(SimpleNamespace(image_processor=own), 2)
    assert own.fetch_images([[image], None, [image]]) == [[image], [image]]


def images_in(value):
    """Whether there is an image in lists and dictionaries however deep."""
    if isinstance(value, dict):
        return value.get("image") is not None or any(map(images_in, value.values()))
    return isinstance(value, list) and any(map(images_in, value))


def test_trl_still_tears_groups_apart():
    theirs = workarounds.grpo_trainer.shuffle_sequence_dict
    theirs = getattr(theirs, workarounds.MARK, theirs)
    batch = {"prompt": torch.arange(24) // 4, "text": [str(n) for n in range(24)], "none": None, "all": torch.tensor(3)}

    def whole(shuffled):
        return all(len(set(part.tolist())) == 1 for part in shuffled["prompt"].split(4))

    torch.manual_seed(0)
    assert not whole(theirs(batch))
    workarounds.install(None, 4)
    workarounds.install(None, 4)
    shuffled = workarounds.grpo_trainer.shuffle_sequence_dict(batch)
    assert whole(shuffled)
    assert shuffled["prompt"].tolist() != batch["prompt"].tolist()
    assert [int(text) // 4 for text in shuffled["text"]] == shuffled["prompt"].tolist()
    assert (shuffled["none"], int(shuffled["all"])) == (None, 3)
