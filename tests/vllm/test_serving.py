"""`make serve` through vLLM: the prompt is training's, the answers are the local model's, the grammar holds."""

import asyncio
import json

import pytest
import regex

from overlay.action.action import parse_action
from overlay.chat import NoAnswer, read_reply
from overlay.data.dataset import each_row, load_dataset
from overlay.errors import SettingError
from overlay.model.processor import load_processor, write_limited
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.agreement import agree
from overlay.serve.client import ANSWER, THINKING, Client, Settings
from tests.served_parts import HELD_OUT_TASKS

ROWS, TOKENS = 24, 24
STYLE = PromptStyle(load_template("zh"))


def ask(url, model, questions, **settings):
    """Answers to (messages, paths), all at once."""

    async def run():
        async with Client(Settings(url, str(model), max_tokens=TOKENS, **settings)) as client:
            return await asyncio.gather(*(client.ask(*question) for question in questions))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def questions(held_out, tmp_path_factory):
    rows = load_dataset(str(held_out), HELD_OUT_TASKS, "gui_action", tmp_path_factory.mktemp("arrow"))
    return [
        (STYLE.messages(row["problem"], len(row["image"])), row["image"])
        for row in each_row(rows.select(range(ROWS)))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def local(vllm_model, questions):
    """(prompt's tokens, greedy completion) of each question by transformers."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText

    processor = load_processor(str(vllm_model))
    model = AutoModelForImageTextToText.from_pretrained(vllm_model, dtype=torch.float32).eval()
    found = []
    for messages, paths in questions:
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        images = [Image.open(path).convert("RGB") for path in paths] or None
        inputs = processor(text=[text], images=images, return_tensors="pt", add_special_tokens=False)
        out = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        length = inputs["input_ids"].size(1)
        found.append((length, processor.batch_decode(out[:, length:], skip_special_tokens=True)[0]))
    return found


def test_prompts_and_greedy_answers_are_the_local_models(vllm_url, vllm_model, questions, local):
    answers = ask(vllm_url, vllm_model, questions)
    assert [answer.prompt_tokens for answer in answers] == [length for length, _ in local]
    for answer, (_, text) in zip(answers, local, strict=True):
        # vLLM leaves out a last token that ends within a character.
        assert answer.completion == text or (text.startswith(answer.completion) and text.endswith("\ufffd"))
    assert len({text for _, text in local}) > ROWS / 2  # they do depend on the prompt


def test_another_processor_is_seen_at_the_start(vllm_url, vllm_model, tmp_path):
    write_limited(vllm_model, tmp_path / "limited", 784, 84 * 112)
    with pytest.raises(SettingError, match="in training: its pixel limits or its chat template"):
        agree(vllm_url, str(vllm_model), tmp_path / "limited")


def test_more_images_than_allowed_are_refused(vllm_url, vllm_model, questions):
    paths = next(paths for _, paths in questions if paths)
    with pytest.raises(NoAnswer, match="At most 2 image"):
        ask(vllm_url, vllm_model, [(STYLE.messages("<image>" * 3, 3), paths[:1] * 3)])


def test_the_grammar_holds(vllm_url, vllm_model, questions, capsys):
    answers = ask(vllm_url, vllm_model, questions[:12], structured=True, temperature=1.0)
    assert not capsys.readouterr().err  # "takes no structured_outputs"
    assert all(regex.fullmatch(THINKING + ANSWER, answer.completion, partial=True) for answer in answers)


GOOD = (
    '<think>{"task_interpretation": "a"}</think><answer>{"action_type": "click", "action_parameter": '
    '{"click": "1,2,3,4"}, "action_description": "b"}</answer>'
)


@pytest.mark.parametrize("parser", ["deepseek_r1", "qwen3", "granite", "mimo", "step3", "minicpmv"])
def test_every_reasoning_parsers_reply_reads_as_the_completion(parser, vllm_model):
    """What vLLM's own parsers make of a completion, put together again."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.reasoning import ReasoningParserManager

    tokenizer = load_processor(str(vllm_model)).tokenizer
    tokenizer.add_tokens(["<think>", "</think>"])
    try:
        kind = ReasoningParserManager.get_reasoning_parser(parser)
    except KeyError as unknown:
        pytest.skip(f"this vLLM has no parser {parser}: {unknown}")
    own = kind(tokenizer)
    request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "x"}])
    think, content = own.extract_reasoning(GOOD, request)
    for name in ("reasoning", "reasoning_content"):
        choice = {"message": {name: think, "content": content}, "finish_reason": "stop"}
        text = read_reply(json.dumps({"choices": [choice]}).encode()).text
        assert text == GOOD
        assert parse_action(text).type == "click"
