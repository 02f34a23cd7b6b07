"""Ask a served model: chat messages and image files in, a completion out. For every program that asks a server.

Loads neither torch nor datasets, and openai only to ask. OPENAI_API_KEY is sent where the server wants one.
"""

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overlay.action.action import ACTION_NAMES, Action, parse_action
from overlay.action.completion import THINK_FIELDS, split
from overlay.data.images import read_png_or_jpeg
from overlay.errors import SettingError

# The whole answer, for servers that sample by a grammar: JSON alone would forbid the think part.
_TEXT = r'"([^"\\\n]|\\.)*"'
PATTERN = (
    r"<think>\{" + ", ".join(rf'"{name}": {_TEXT}' for name in THINK_FIELDS) + r"\}</think>"
    r'<answer>\{"action_type": "(' + "|".join(ACTION_NAMES) + rf')", "action_parameter": \{{"[a-z_]+": {_TEXT}\}}, '
    rf'"action_description": {_TEXT}\}}</answer>'
)


@dataclass(frozen=True)
class Settings:
    """How a server is asked. `structured`: by a grammar, where the server can."""

    url: str
    model: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    timeout: float = 120.0
    retries: int = 4
    structured: bool = False


@dataclass(frozen=True)
class Answer:
    """A completion, its parts, and the server's count of the prompt's tokens (images included; None if not told)."""

    completion: str
    prompt_tokens: int | None = None

    @property
    def think(self) -> str | None:
        return split(self.completion).think

    @property
    def action(self) -> Action | None:
        """The action, in the model's coordinates."""
        return parse_action(self.completion)


def openai_messages(messages: list[dict[str, Any]], paths: list[str]) -> list[dict[str, Any]]:
    """Chat messages with image slots → the OpenAI format, the images in their slots in order. Raises DataError."""
    left = iter(paths)
    return [
        {
            **message,
            "content": [
                {"type": "image_url", "image_url": {"url": read_png_or_jpeg(next(left)).url}}
                if part["type"] == "image"
                else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]


def whole(message: Any) -> str:
    """A reply's completion as the model wrote it. Servers that know the `<think>` tags hand its content over apart and
    leave the tags out (`transformers serve`; vLLM with a reasoning parser)."""
    apart = message.model_extra or {}
    think = apart.get("reasoning_content") or apart.get("reasoning")
    return (f"<think>{think}</think>" if think else "") + (message.content or "")


class Client:
    """Asks one server; `async with` it. Requests are repeated on 429, 5xx and broken connections."""

    def __init__(self, settings: Settings):
        from openai import AsyncOpenAI

        self.settings = settings
        self.server = AsyncOpenAI(
            base_url=settings.url, api_key=os.environ.get("OPENAI_API_KEY") or "none", timeout=settings.timeout,
            max_retries=settings.retries,
        )  # fmt: skip
        self.model = settings.model
        self.structured = settings.structured

    async def __aenter__(self) -> "Client":
        """Ask for the model's name where none is given. Raises SettingError when the server cannot be reached."""
        from openai import OpenAIError

        try:
            served = [entry.id for entry in (await self.server.models.list()).data]
        except OpenAIError as error:
            await self.server.close()
            raise SettingError(f"{self.settings.url}: no OpenAI-compatible server answers there ({error})") from error
        if not self.model and len(served) != 1:
            await self.server.close()
            what = f"serves {', '.join(served)}" if served else "lists no model (transformers serve does not)"
            raise SettingError(f"{self.settings.url} {what}: give --name, the folder that it serves or one of these")
        self.model = self.model or served[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    async def ask(self, messages: list[dict[str, Any]], paths: list[str]) -> Answer:
        """One completion. Raises OpenAIError or DataError (an image)."""
        from openai import BadRequestError

        body = await asyncio.to_thread(openai_messages, messages, paths)
        options = {
            "model": self.model, "messages": body, "max_tokens": self.settings.max_tokens,
            "temperature": self.settings.temperature,
        }  # fmt: skip
        try:
            extra = {"structured_outputs": {"regex": PATTERN}} if self.structured else None
            reply = await self.server.chat.completions.create(**options, extra_body=extra)
        except BadRequestError as error:
            if not self.structured:
                raise
            print(f"{self.settings.url} takes no structured_outputs ({error}); asking without", file=sys.stderr)
            self.structured = False
            reply = await self.server.chat.completions.create(**options)
        text = whole(reply.choices[0].message)
        return Answer(text, reply.usage.prompt_tokens if reply.usage else None)


def asking(parser: argparse.ArgumentParser, or_folder: bool = False) -> None:
    """Flags of every program that asks a server; `or_folder`: or serves a model folder to ask it."""
    if or_folder:
        parser.add_argument("--model", type=Path, help="model folder, served for as long as this takes; else --url")
    parser.add_argument("--url", help="http://host:port/v1")
    parser.add_argument("--name", default="", help="model on the server: what vLLM lists, or the folder it serves")
    parser.add_argument("--max_tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one request")
    parser.add_argument("--structured", action="store_true", help="sample by the answer's grammar (vLLM)")


def settings_of(args: argparse.Namespace, url: str) -> Settings:
    """The settings of `asking`'s flags."""
    return Settings(url, args.name, args.max_tokens, args.temperature, args.timeout, structured=args.structured)
