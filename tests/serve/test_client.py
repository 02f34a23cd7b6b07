"""The client: what it loads, what it sends, and how it reads a reply."""

import argparse
import asyncio
import json
import re
import subprocess
import sys

import pytest
from PIL import Image

from overlay.action.action import parse_action
from overlay.action.completion import THINK_FIELDS
from overlay.data.dataset import load_dataset
from overlay.data.lengths import prompt_lengths
from overlay.errors import DataError
from overlay.model.processor import load_processor
from overlay.prompt.opened import unopened
from overlay.prompt.style import PromptStyle
from overlay.serve import client
from tests.broken_server import WAIT, broken_server
from tests.served_parts import HELD_OUT_TASKS
from tests.stock import ROOT

LOADED = """
import sys, time
start = time.process_time()
import overlay.serve.client
seconds = time.process_time() - start
print(seconds, *sorted(name for name in sys.modules if "." not in name))
"""


@pytest.mark.integration
def test_the_client_loads_little():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.split()
    assert float(seconds) < 0.5
    assert not {"torch", "transformers", "datasets", "pyarrow", "pandas", "numpy", "openai"} & set(modules)


@pytest.mark.integration
def test_the_server_sees_as_many_tokens_as_training_counts(url, held_out, tiny_model_dir):
    """Pixel limits and template are the same: the server's count of the prompt is the trainer's."""
    rows = load_dataset(str(held_out), HELD_OUT_TASKS).select([0, 3])
    lengths = prompt_lengths(rows, PromptStyle(), load_processor(str(tiny_model_dir)))

    async def ask():
        async with client.Client(client.Settings(url, str(tiny_model_dir), max_tokens=1)) as asked:
            return [
                (await asked.ask(PromptStyle().messages(row["problem"], len(row["image"])), row["image"])).prompt_tokens
                for row in rows
            ]

    assert asyncio.run(ask()) == lengths


OPENS = "{% if add_generation_prompt %}assistant\n<think>\n{% endif %}"


@pytest.mark.parametrize(
    ("template", "put_back"), [(OPENS, True), (None, False), ("assistant\n", False), (unopened(OPENS), False)]
)
@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_think_part_that_the_prompt_opened_is_whole(template, put_back, file, tmp_path):
    """Under a folder's own template alone: where none tells, and at a checkpoint of ours, the model has left it out."""
    if template is not None:
        (tmp_path / file).write_text(template if file.endswith("jinja") else json.dumps({"chat_template": template}))
    parser = argparse.ArgumentParser()
    client.asking(parser)
    with broken_server() as server:
        server.kind = "as usual"
        args = parser.parse_args(["--url", server.url, "--name", str(tmp_path)])
        settings = client.settings_of(args, server.url, PromptStyle())

        async def ask(says):
            server.says = says
            async with client.Client(settings) as asked:
                return await asked.ask(PromptStyle().messages("?", 0), [])

        answer = asyncio.run(ask(WAIT.removeprefix("<think>")))
        assert answer.completion == (WAIT if put_back else WAIT.removeprefix("<think>"))
        assert answer.think == ("{}" if put_back else None)
        for whole in (WAIT, "<answer>x</answer>", "cut befo"):
            assert asyncio.run(ask(whole)).completion == whole


def test_images_are_sent_as_they_are_or_as_png(tmp_path):
    Image.new("RGB", (20, 30)).save(tmp_path / "a.jpg")
    Image.new("RGB", (20, 30)).save(tmp_path / "b.bmp")
    slots = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}, {"type": "image"}]}]
    (message,) = client.openai_messages(slots, [str(tmp_path / "a.jpg"), str(tmp_path / "b.bmp")])
    first, text, second = message["content"]
    assert first["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert text == {"type": "text", "text": "?"}
    assert second["image_url"]["url"].startswith("data:image/png;base64,")
    with pytest.raises(DataError, match=r"image not found: .*gone\.png"):
        client.openai_messages(slots, [str(tmp_path / "gone.png")])


def test_the_grammar_of_structured_output_is_the_format():
    answer = '{"action_type": "click", "action_parameter": {"click": "1,2,3,4"}, "action_description": "点\\"x\\""}'
    think = ", ".join(f'"{name}": "…"' for name in THINK_FIELDS)
    text = f"<think>{{{think}}}</think><answer>{answer}</answer>"
    assert re.fullmatch(client.THINKING + client.ANSWER, text)
    assert parse_action(text).type == "click"
    assert not re.fullmatch(client.THINKING + client.ANSWER, text.replace('"click",', '"fly",'))
