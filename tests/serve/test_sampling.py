"""What a served model says at a temperature: one answer at 0, several above it."""

import asyncio

import pytest

from overlay.data.dataset import load_dataset
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, Settings
from tests.served_parts import HELD_OUT_TASKS

pytestmark = pytest.mark.integration


def test_a_temperature_samples(url, held_out, tiny_model_dir):
    """The tiny model's generation_config.json has no do_sample, as a model's made from a config has none."""
    row = load_dataset(str(held_out), HELD_OUT_TASKS)[0]
    messages = PromptStyle().messages(row["problem"], len(row["image"]))

    async def said(temperature):
        async with Client(Settings(url, str(tiny_model_dir), max_tokens=12, temperature=temperature)) as asked:
            return {(await asked.ask(messages, row["image"])).completion for _ in range(3)}

    assert len(asyncio.run(said(0.0))) == 1
    assert len(asyncio.run(said(1.0))) == 3
