"""Ask a served model for one step: a task's JSON or a row of a data file in, reasoning and one action out. No torch.

    python -m overlay.serve.ask --url http://127.0.0.1:8000/v1 --data rows.jsonl --images TASKS --index 3
    python -m overlay.serve.ask --url ... --task task.json --images FOLDER [--out answer.png]      (make infer URL=)

A task is the `input` of a step file (or the whole step file): screens are names in the image folder. The picture shows
the current screen with the action drawn. The status is 1 when the server gives no answer, 2 for bad input.
"""

import argparse
import asyncio
import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from overlay.action.action import parse_action
from overlay.action.completion import split, whole_text
from overlay.action.space import Scale, rescale
from overlay.chat import NoAnswer
from overlay.checks import at_least, writable_file
from overlay.data.earlier import earlier_screens
from overlay.data.images import scale_of, size_of
from overlay.data.rows import RowError, parse_row
from overlay.errors import Arguments, ServerFailed, SettingError, command
from overlay.pages.picture import drawn
from overlay.prompt.crop import cropped
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import SCREEN_FIELDS, load_template, render_question
from overlay.serve.client import Answer, Client, asking, check_asking, settings_of
from overlay.serve.style import of_rows, style_flags, style_of


def question_of_task(record: Any, style: PromptStyle) -> tuple[str, list[str]]:
    """(question with marks, names of its screens) of a step's `input`, alone or in its step file. SettingError for
    anything else."""
    fields = record.get("input", record) if isinstance(record, dict) else None
    if not isinstance(fields, dict) or "task_content" not in fields:
        raise SettingError("--task: neither a step file nor its input (an object with task_content)")
    names = [fields[name] for name in SCREEN_FIELDS if fields.get(name)]
    if not all(isinstance(name, str) for name in names):
        raise SettingError(f"--task: {' and '.join(SCREEN_FIELDS)} are names of files in --images")
    return render_question(style.template or load_template(style.language), fields, style.language), names


def question_of_row(file: Path, index: int, history: int = 0, crop: float = 0.0) -> tuple[str, list[str], list[str]]:
    """(question with marks, image paths as written, up to `history` earlier screens first, cropped to `crop`, right
    answers: gold, then others) of row `index`, from 0."""
    if not file.is_file():
        raise SettingError(f"--data {file}: no such file")
    with open(file, "rb") as lines:
        rows = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        found = next(islice(rows, index, None), None)
    if found is None:
        raise SettingError(f"{file}: no row {index}")
    try:
        row = parse_row(found[1], history=history, crop=crop)
    except RowError as error:
        raise SettingError(f"{file}:{found[0]}: {error}") from error
    return row["problem"], row["image"], [row["solution"], *row["also"]]


def describe(answer: Answer, scale: Scale) -> str:
    """The answer for people: thoughts laid out, the action, and its coordinates in the screenshot's own pixels."""
    think, action = answer.think, answer.action
    try:
        think = json.dumps(json.loads(think or ""), ensure_ascii=False, indent=2)
    except ValueError:
        think = think or "(no <think> part)"
    lines = [f"think\n{think}", f"answer\n{split(answer.completion, answer.answer_format).answer or answer.completion}"]
    if action is None:
        lines.append("action: none could be read")
    else:
        place = "" if action.coordinates is None else ", ".join(
            f"{value:.0f}" for value in rescale(action.coordinates, scale, back=True)
        )  # fmt: skip
        pixels = f" at {place} (pixels of the screenshot)" if place else ""
        repaired = " (repaired: the answer is no JSON)" if action.repaired else ""
        lines.append(f"action: {action.type} {action.parameter!r}{pixels}{repaired}")
    if answer.cut:
        lines.append("cut: the answer has --max_tokens tokens, and would go on")
    return whole_text("\n\n".join(lines))


async def run(args: argparse.Namespace) -> None:
    """Ask one question, print the answer and draw it. Raises SettingError, DataError, ServerFailed."""
    if args.task:
        if not args.task.is_file():
            raise SettingError(f"--task {args.task}: no such file")
        try:
            record = json.loads(args.task.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise SettingError(f"--task {args.task}: not JSON ({error})") from error
        (style, told), golds = style_of(args), []
        question, shown = question_of_task(record, style)
        earlier = earlier_screens(args.task, shown)[-style.history_screens :] if style.history_screens else []
        names = [*(cropped(name, point, style.history_crop) for name, point in earlier), *shown]
    else:
        style, told = style_of(args)
        question, names, golds = question_of_row(args.data, args.index or 0, style.history_screens, style.history_crop)
        told += of_rows(style, [question])
    paths = [os.path.join(args.images, name) for name in names]
    for path in paths:
        size_of(path, "--images")  # before anyone is asked
    async with Client(settings_of(args, args.url, style)) as client:
        try:
            answer = await client.ask(style.messages(question, len(paths)), paths)
        except NoAnswer as error:
            raise ServerFailed(f"{args.url}: {error}") from error
    scale = scale_of(style, paths, "the row")
    print(f"{told}\n\n{describe(answer, scale)}")
    for name, gold in zip(("gold", *("or" for _ in golds)), golds, strict=False):
        print(f"\n{name}\n{whole_text(gold)}")
    if args.out and paths:
        drawn(paths[-1], answer.action, scale, [parse_action(gold) for gold in golds]).save(args.out)
        print(f"\n{args.out}")


@command("infer", OSError, ValueError)
def main(argv: list[str] | None = None) -> int:
    """Ask what the command line says."""
    parser = Arguments(description="Ask a served model for one step.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--task", type=Path, help="a step file, or its input, as JSON")
    what.add_argument("--data", type=Path, help="a data file; see --index")
    parser.add_argument("--index", type=int, help="row of --data, from 0, the first by default")
    parser.add_argument("--images", required=True, help="image folder")
    parser.add_argument("--out", type=Path, default=Path("answer.png"), help="picture of the action on the screen")
    asking(parser)
    style_flags(parser)
    args = parser.parse_args(argv)
    if not args.url:
        raise SettingError("--url is missing: make serve MODEL=..., then --url http://127.0.0.1:8000/v1")
    if not args.task and not args.data:
        raise SettingError("give a data file (--data, make infer DATA=) or a step file (--task, TASK=)")
    if args.task and args.index is not None:
        raise SettingError(f"--index {args.index}: a row of --data; a step file is one step")
    at_least(args, index=0)
    check_asking(args)
    if not os.path.isdir(args.images):
        raise SettingError(f"--images {args.images}: no such folder")
    if args.out.suffix.lower() not in Image.registered_extensions():
        raise SettingError(f"--out {args.out}: a picture's name, such as answer.png")
    writable_file(args.out)
    asyncio.run(run(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
