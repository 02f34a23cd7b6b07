"""What eval, difficulty and think share: their flags, what is refused before anyone is asked, and the kept answers."""

import argparse
from pathlib import Path

from overlay.checks import writable_folder
from overlay.errors import SettingError
from overlay.evaluate.answers import Answers, chosen_of
from overlay.evaluate.identity import weights_digest
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, asking, check_asking
from overlay.serve.server import check_model
from overlay.serve.style import check_seen, folder_of, style_flags, style_of


def rows_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of what asks a model for the rows of data files and keeps the answers in a folder."""
    parser.add_argument("--data", required=True, help="data file(s), separated by ':'")
    parser.add_argument("--images", required=True, help="their image folders, separated by ':'")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="only the first rows; 0: all")
    asking(parser, or_folder=True)
    style_flags(parser)


def asked_style(args: argparse.Namespace) -> tuple[PromptStyle, str]:
    """(the style to ask in, the line that says so). SettingError for what no model can be asked with or nothing be
    written to; to be called before a server is started."""
    check_asking(args)
    if args.model:
        check_model(args.model)
    writable_folder(args.out)
    style, told = style_of(args)
    check_seen(style, args.model)
    return style, told


def check_several(args: argparse.Namespace, count: int, what: str) -> None:
    """SettingError when a row is asked for `count` answers (`what`: samples, tries), which would all be the same."""
    if count > 1 and not args.temperature:
        raise SettingError(f"--temperature 0: {count} {what} would be one answer: give more, such as 1")


def answers_of(args: argparse.Namespace, client: Client, style: PromptStyle) -> Answers:
    """The answers that are there already."""
    folder = folder_of(args)
    digest = weights_digest(folder) if folder else None
    return Answers(args.out, {"model": client.model, **chosen_of(args, style)}, digest)
