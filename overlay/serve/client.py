"""Ask a served model: chat messages and image files in, a completion out. For every program that asks a server.

Loads neither torch nor datasets, and openai only to ask. OPENAI_API_KEY is sent where the server wants one.
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overlay.action.action import ACTION_NAMES, Action, parse_action
from overlay.action.completion import ANSWER_TAG, THINK_FIELDS, TOOL_CALL, split
from overlay.action.tool_call import BUTTONS, SAYS, STATUS, TOOL
from overlay.chat import UNREACHED, Chat, NoAnswer, check_url, reopened
from overlay.checks import at_least
from overlay.data.images import read_png_or_jpeg
from overlay.errors import DataError, SettingError
from overlay.prompt.opened import served_opened
from overlay.prompt.style import PromptStyle

GIVE_UP = 16  # requests in a row that no server answers; then it is gone
GONE = "the server is gone, not asked"
# The whole answer, for servers that sample by a grammar: JSON alone would forbid the think part.
_TEXT = r'"([^"\\\n]|\\.)*"'
THINKING = r"<think>\{" + ", ".join(rf'"{name}": {_TEXT}' for name in THINK_FIELDS) + r"\}</think>"
ANSWER = (
    r'<answer>\{"action_type": "(' + "|".join(ACTION_NAMES) + rf')", "action_parameter": \{{"[a-z_]+": {_TEXT}\}}, '
    rf'"action_description": {_TEXT}\}}</answer>'
)
_POINT = r"\[-?\d{1,6}, -?\d{1,6}\]"
_ARGUMENTS = "|".join([
    rf'click", "coordinate": {_POINT}', rf'long_press", "coordinate": {_POINT}, "time": \d{{1,3}}',
    rf'swipe", "coordinate": {_POINT}, "coordinate2": {_POINT}', rf'(type|open|interact)", "text": {_TEXT}',
    rf'system_button", "button": "({"|".join(BUTTONS)})"', r'wait", "time": \d{1,3}',
    rf'terminate", "status": "({"|".join(STATUS)})"(, "text": {_TEXT})?',
])  # fmt: skip
CALL = (
    rf"({SAYS} [^\n<]+\n)?<tool_call>\n\{{"
    rf'"name": "{TOOL}", "arguments": \{{"action": "({_ARGUMENTS})\}}\}}'
    r"\n</tool_call>"
)


@dataclass(frozen=True)
class Settings:
    """How a server is asked. `structured`: by a grammar, where the server can; `thinking`: with that part;
    `answer_format`: what the prompts ask for; `opened`: prompts may end with a `<think>` of the served template's."""

    url: str
    model: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    timeout: float = 120.0
    retries: int = 4
    structured: bool = False
    thinking: bool = True
    answer_format: str = ANSWER_TAG
    opened: bool = False


@dataclass(frozen=True)
class Answer:
    """A completion, its parts, the server's count of the prompt's tokens (images included), and why the model stopped;
    None if not told. `answer_format`: that was asked for."""

    completion: str
    prompt_tokens: int | None = None
    finish: str | None = None
    answer_format: str = ANSWER_TAG

    @property
    def cut(self) -> bool:
        """Whether it reached the most tokens that were allowed."""
        return self.finish == "length"

    @property
    def think(self) -> str | None:
        return split(self.completion).think

    @property
    def action(self) -> Action | None:
        """The action, in the model's coordinates."""
        return parse_action(self.completion, self.answer_format)


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


class Client:
    """Asks one server; `async with` it. Raises SettingError for a URL that cannot be asked."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.chat = Chat(settings.url, os.environ.get("OPENAI_API_KEY"), settings.timeout, settings.retries)
        self.model = settings.model
        self.structured = settings.structured

    async def __aenter__(self) -> "Client":
        """Ask for the model's name where none is given. Raises SettingError when the server cannot be reached."""
        try:
            self.model = self.model or await self._only_model()
            if self.settings.model:
                await self._knock()
        except SettingError:
            await self.chat.close()
            raise
        return self

    async def _only_model(self) -> str:
        try:
            served = await self.chat.models()
        except NoAnswer as error:
            raise SettingError(f"{self.settings.url}: no OpenAI-compatible server answers there ({error})") from error
        if len(served) != 1:
            what = f"serves {', '.join(served)}: give --name (NAME=), one of these"
            if not served:
                what = "lists no model (transformers serve does not): give --name (NAME=), the folder that it serves"
            raise SettingError(f"{self.settings.url} {what}")
        return served[0]

    async def _knock(self) -> None:
        """A server that nobody can reach is said at once. What it says of its models, if anything, is of no account."""
        try:
            await self.chat.models()
        except NoAnswer as error:
            if error.reason == UNREACHED:
                raise SettingError(
                    f"{self.settings.url}: no OpenAI-compatible server answers there ({error})"
                ) from error

    async def __aexit__(self, *_: object) -> None:
        await self.chat.close()

    @property
    def gone(self) -> bool:
        """Whether so many requests in a row were answered by nobody that more are not worth their wait."""
        return self.chat.unreached >= GIVE_UP

    async def ask(self, messages: list[dict[str, Any]], paths: list[str]) -> Answer:
        """One completion. Raises NoAnswer or DataError (an image)."""
        if self.gone:
            raise NoAnswer(GONE)
        body = await asyncio.to_thread(openai_messages, messages, paths)
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the prompt is no text that can be sent ({error.reason})") from error
        options = {
            "model": self.model, "messages": body, "max_tokens": self.settings.max_tokens,
            "temperature": self.settings.temperature,
        }  # fmt: skip
        pattern = CALL if self.settings.answer_format == TOOL_CALL else ANSWER
        pattern = THINKING + pattern if self.settings.thinking else pattern
        grammar = {"structured_outputs": {"regex": pattern}} if self.structured else {}
        try:
            reply = await self.chat.complete(**options, **grammar)
        except NoAnswer as error:
            if not grammar or error.status != 400:
                raise
            print(f"{self.settings.url} takes no structured_outputs ({error}); asking without", file=sys.stderr)
            self.structured = False
            reply = await self.chat.complete(**options)
        text = reopened(reply.text) if self.settings.opened else reply.text
        return Answer(text, reply.prompt_tokens, reply.finish, self.settings.answer_format)


def asking(parser: argparse.ArgumentParser, or_folder: bool = False) -> None:
    """Flags of every program that asks a server; `or_folder`: or serves a model folder to ask it."""
    if or_folder:
        parser.add_argument("--model", type=Path, help="model folder, served for as long as this takes; else --url")
    parser.add_argument("--url", help="http://host:port/v1")
    parser.add_argument("--name", default="", help="model on the server: what vLLM lists, or the folder it serves")
    parser.add_argument("--max_tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one try of a request")
    parser.add_argument("--retries", type=int, default=4, help="tries after the first, on 429, 5xx, broken connections")
    parser.add_argument("--structured", action="store_true", help="sample by the answer's grammar (vLLM)")


def check_asking(args: argparse.Namespace) -> None:
    """SettingError for flags of `asking` that no server can be asked with, or that say two things. To be called before
    one is started."""
    at_least(args, max_tokens=1, temperature=0, timeout=0.001, retries=0)
    model = getattr(args, "model", None)
    if "model" in args and bool(model) == bool(args.url):
        raise SettingError("give either --model (a folder) or --url (a server)")
    if model and args.name not in ("", str(model)):
        raise SettingError(f"--name {args.name}: a model on the server of --url; --model {model} has its own name")
    if args.url:
        check_url(args.url)


def settings_of(args: argparse.Namespace, url: str, style: PromptStyle) -> Settings:
    """The settings of `asking`'s flags, for prompts of a `style`. Raises SettingError."""
    check_asking(args)
    return Settings(
        url, args.name, args.max_tokens, args.temperature, args.timeout, args.retries, args.structured,
        style.thinking, style.answer_format, served_opened(Path(getattr(args, "model", None) or args.name)),
    )  # fmt: skip
