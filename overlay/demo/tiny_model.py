"""A Qwen2.5-VL of about two million parameters, made from its config: the real classes, small enough for two cores.

The tokenizer is a byte-level BPE trained on the demo's own text. Pieces are cut at JSON's punctuation, line ends
and numbers only, so that the fixed parts of a prompt become few tokens and a number or a name keeps its tokens wherever
it stands.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    set_seed,
)

from overlay.demo.chat import CHAT_TEMPLATE, SPECIAL

# Where text is cut: escaped quotes, runs of JSON punctuation, line ends, numbers. What lies between stays whole.
PIECES = r'\\"|[{}\[\],:"]+(?: (?=["{\[]))?["{\[]*|\n|\d+'
PIXELS = 168 * 224  # of each screenshot as the model sees it: 48 tokens


def build_tokenizer(texts: list[str], vocab_size: int = 4000) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts` with Qwen2.5-VL's special tokens; a long line that all texts share is one token.

    The plain fast class, for transformers' Qwen2Tokenizer would put its own cutting rule back on loading.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    numbers = [str(n) for n in range(1000)] * 2
    tokenizer.train_from_iterator([*texts, *numbers], trainer)
    shared = Counter(line for text in texts for line in dict.fromkeys(text.splitlines()) if len(line) > 8)
    tokenizer.add_tokens([line for line, count in shared.items() if count > len(texts) / 4])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        model_max_length=32768,
    )


def build_processor(texts: list[str], pixels: int = PIXELS, words: Sequence[str] = ()) -> Qwen2_5_VLProcessor:
    """Processor with a tokenizer trained on `texts` in which each of `words` is one token; images are resized to at
    most `pixels`."""
    images, tokenizer = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=pixels), build_tokenizer(texts)
    tokenizer.add_tokens(list(words))
    return Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE)


def build_model(
    processor: Qwen2_5_VLProcessor,
    width: int = 128,
    depth: int = 3,
    seed: int = 0,
    vision: dict[str, Any] | None = None,
) -> Qwen2_5_VLForConditionalGeneration:
    """Untrained fp32 model whose vocabulary and special tokens are the processor's; `vision`: of its tower's config."""
    token = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": depth,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [width // 32, width // 32, width // 16]
            },
            "tie_word_embeddings": True,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": width // 2,
            "intermediate_size": width,
            "num_heads": 4,
            "out_hidden_size": width,
            "fullatt_block_indexes": [1],
            **(vision or {}),
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )  # fmt: skip
    set_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [token("<|im_end|>"), token("<|endoftext|>")]
    model.generation_config.pad_token_id = token("<|endoftext|>")
    return model


def save(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write a model folder that `from_pretrained` reads."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
