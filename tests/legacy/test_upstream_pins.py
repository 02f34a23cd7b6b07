"""The series on upstream's own pins (requirements/legacy.txt): the stock script trains there too.

    make test-legacy        a second environment; not part of `make test`

Only the processor and the model are made in that release's way; everything else is what today's stack runs.
"""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
)

from data_prep.convert import convert
from overlay.demo.chat import CHAT_TEMPLATE, SPECIAL
from overlay.prompt.template import load_template
from tests.stock import TASKS, ZERO3, healthy, run_stock


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows") / "train.jsonl"
    convert(TASKS / "train", out, load_template("zh"), decode=False)
    return out


@pytest.fixture(scope="session")
def model(tmp_path_factory, rows):
    """A tiny Qwen2.5-VL, configured as transformers 4.49 does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    texts = [turn["value"] for line in rows.open() for turn in json.loads(line)["conversations"]]
    tokenizer.train_from_iterator(texts, trainer)
    fast = Qwen2TokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
    )  # fmt: skip
    token = fast.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        rope_scaling={"type": "mrope", "mrope_section": [2, 2, 4]}, bos_token_id=token("<|endoftext|>"),
        eos_token_id=token("<|im_end|>"), pad_token_id=token("<|endoftext|>"), image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"), vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64,
                       "fullatt_block_indexes": [1]},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2_5_VLProcessor(Qwen2VLImageProcessor(), fast, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def test_two_ranks(upstream, model, rows, tmp_path):
    assert healthy(run_stock(upstream, model, rows, tmp_path / "run"))


def test_zero3_with_a_reference_model(upstream, model, rows, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    log = run_stock(
        upstream, model, rows, tmp_path / "run", cpu=False, deepspeed=config, beta=0.04, num_iterations=2,
        gradient_checkpointing="true", freeze_vision_modules="true",
    )  # fmt: skip
    assert healthy(log)


def test_lora(upstream, model, rows, tmp_path):
    flags = {"use_peft": "true", "lora_r": 4, "lora_alpha": 8, "lora_task_type": "CAUSAL_LM"}
    assert healthy(run_stock(upstream, model, rows, tmp_path / "run", processes=1, **flags))
