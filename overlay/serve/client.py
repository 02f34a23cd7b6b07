"""Ask a served model for one step: a task's JSON or a row of a data file in, reasoning and one action out. No torch.

    python -m overlay.serve.client --url http://127.0.0.1:8000/v1 --data rows.jsonl --images TASKS --index 3
    python -m overlay.serve.client --url ... --task task.json --images FOLDER [--out answer.png]      (make infer URL=)

A task is the `input` of a step file (or the whole step file): screens are names in the image folder. The picture shows
the current screen with the action drawn. OPENAI_API_KEY is sent where the server wants one.
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, BadRequestError, OpenAIError

from overlay.action.action import ACTION_NAMES, Action, parse_action
from overlay.action.completion import split
from overlay.action.space import Scale, Space
from overlay.data.images import read_png_or_jpeg, scale_of
from overlay.data.rows import RowError, parse_row
from overlay.errors import SettingError
from overlay.pages.picture import drawn
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import SCREEN_FIELDS, load_template, render_question

_FIELDS = ("task_interpretation", "current_page_audit", "path_alignment_check", "action_validation")
# The whole answer, for servers that sample by a grammar: JSON alone would forbid the think part.
_TEXT = r'"([^"\\\n]|\\.)*"'
PATTERN = (
    r"<think>\{" + ", ".join(rf'"{name}": {_TEXT}' for name in _FIELDS) + r"\}</think>"
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
    """Chat messages with image slots → the OpenAI format, the images in their slots in order."""
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
        self.settings = settings
        self.server = AsyncOpenAI(
            base_url=settings.url, api_key=os.environ.get("OPENAI_API_KEY") or "none", timeout=settings.timeout,
            max_retries=settings.retries,
        )  # fmt: skip
        self.model = settings.model
        self.structured = settings.structured

    async def __aenter__(self) -> "Client":
        """Ask for the model's name where none is given. Raises SettingError when the server cannot be reached."""
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


def question_of_task(record: dict[str, Any], template: str, language: str) -> tuple[str, list[str]]:
    """(question with marks, names of its screens) of a step's `input`, alone or in its step file."""
    fields = record.get("input", record)
    if not isinstance(fields, dict) or "task_content" not in fields:
        raise SettingError("--task: neither a step file nor its input (task_content is missing)")
    names = [fields[name] for name in SCREEN_FIELDS if fields.get(name)]
    return render_question(load_template(template), fields, language), names


def question_of_row(file: Path, index: int) -> tuple[str, list[str], str]:
    """(question with marks, image paths as written, gold) of row `index`, from 0, of a data file."""
    with open(file, "rb") as lines:
        rows = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        found = next(islice(rows, index, None), None)
    if found is None:
        raise SettingError(f"{file}: no row {index}")
    try:
        row = parse_row(found[1])
    except RowError as error:
        raise SettingError(f"{file}:{found[0]}: {error}") from error
    return row["problem"], row["image"], row["solution"]


def describe(answer: Answer, scale: Scale) -> str:
    """The answer for people: thoughts laid out, the action, and its coordinates in the screenshot's own pixels."""
    think, action = answer.think, answer.action
    try:
        think = json.dumps(json.loads(think or ""), ensure_ascii=False, indent=2)
    except ValueError:
        think = think or "(no <think> part)"
    lines = [f"think\n{think}", f"answer\n{split(answer.completion).answer or answer.completion}"]
    if action is None:
        lines.append("action: none could be read")
    else:
        where = action.coordinates
        pixels = "" if where is None else " at " + ", ".join(
            f"{value / scale[n % 2]:.0f}" for n, value in enumerate(where)
        ) + " (pixels of the screenshot)"  # fmt: skip
        lines.append(f"action: {action.type} {action.parameter!r}{pixels}")
    return "\n\n".join(lines)


async def run(args: argparse.Namespace) -> int:
    """One question from the command line."""
    if args.task:
        record = json.loads(args.task.read_text(encoding="utf-8"))
        question, names = question_of_task(record, args.prompt_template, args.language)
        gold = None
    else:
        question, names, gold = question_of_row(args.data, args.index)
    paths = [os.path.join(args.images, name) for name in names]
    style = PromptStyle(load_template("zh"), space=Space(args.coordinate_space, args.min_pixels, args.max_pixels))
    async with Client(settings_of(args, args.url)) as client:
        answer = await client.ask(style.messages(question, len(paths)), paths)
    scale = scale_of(style, paths, "the row")
    print(describe(answer, scale))
    if gold:
        print(f"\ngold\n{gold}")
    if args.out and paths:
        drawn(paths[-1], answer.action, scale, parse_action(gold or "")).save(args.out)
        print(f"\n{args.out}")
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Ask a served model for one step.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--task", type=Path, help="a step file, or its input, as JSON")
    what.add_argument("--data", type=Path, help="a data file; see --index")
    parser.add_argument("--index", type=int, default=0, help="row of --data, from 0")
    parser.add_argument("--images", required=True, help="image folder")
    parser.add_argument("--out", type=Path, default=Path("answer.png"), help="picture of the action on the screen")
    parser.add_argument("--prompt_template", default="zh", help="zh, en or a file, for --task")
    parser.add_argument("--language", choices=("zh", "en"), default="zh")
    asking(parser)
    return parser


def asking(parser: argparse.ArgumentParser) -> None:
    """Flags of every program that asks a server."""
    parser.add_argument("--url", help="http://host:port/v1")
    parser.add_argument("--name", default="", help="model on the server: what vLLM lists, or the folder it serves")
    parser.add_argument("--max_tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one request")
    parser.add_argument("--structured", action="store_true", help="sample by the answer's grammar (vLLM)")
    parser.add_argument("--coordinate_space", default="original", help="original, resized or norm1000, as trained")
    parser.add_argument("--min_pixels", type=int, default=3136)
    parser.add_argument("--max_pixels", type=int, default=12845056)


def settings_of(args: argparse.Namespace, url: str) -> Settings:
    """The settings of `asking`'s flags."""
    return Settings(url, args.name, args.max_tokens, args.temperature, args.timeout, structured=args.structured)


def main() -> int:
    """Status 2 and one line for bad input, 1 when the server fails."""
    args = arguments().parse_args()
    if not args.url:
        print("infer: --url is missing: make serve MODEL=..., then --url http://127.0.0.1:8000/v1", file=sys.stderr)
        return 2
    if not args.task and not args.data:
        print("infer: give a data file (--data, make infer DATA=) or a step file (--task, TASK=)", file=sys.stderr)
        return 2
    try:
        return asyncio.run(run(args))
    except (OSError, ValueError) as error:
        print(f"infer: {error}", file=sys.stderr)
        return 2
    except OpenAIError as error:
        print(f"infer: {args.url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
