"""How a served model or a model folder is asked: as it was trained, with the command line's flags on top. No torch."""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from overlay.action.completion import ANSWER_TAG, TAGS
from overlay.action.space import FAMILY_SPACES, SPACES, Space, cell_of
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style
from overlay.prompt.template import LANGUAGES, load_template, template_of
from overlay.serve.server import pixel_limits, read_object
from overlay.settings import MOST_EARLIER, check_crop


def style_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of every program that asks a model."""
    parser.add_argument("--style", type=Path, help=f"folder with the {STYLE_FILE} of the model that a URL serves")
    parser.add_argument("--coordinate_space", choices=SPACES, help="in place of the one it was trained in")
    parser.add_argument("--min_pixels", type=int, help="of an image, in place of training's")
    parser.add_argument("--max_pixels", type=int, help="of an image, in place of training's")
    parser.add_argument("--prompt_template", help="zh, en or a file, for steps that bring none; in place of training's")
    parser.add_argument("--thinking", choices=("true", "false"), help="whether it is asked for, in place of training's")
    many = range(MOST_EARLIER + 1)
    parser.add_argument("--history_screens", type=int, choices=many, help="earlier screens, in place of training's")
    parser.add_argument("--history_crop", type=float, help="share of each that is shown, in place of training's")
    parser.add_argument("--answer_format", choices=tuple(TAGS), help="what is asked for, in place of training's")


def style_of(args: argparse.Namespace) -> tuple[PromptStyle, str]:
    """(the style for `style_flags`, of --style, else of the folder --model or --name; a line for people: what holds,
    what is assumed and what a flag contradicts). Raises SettingError."""
    folder = args.style or folder_of(args)
    kept = read_style(folder) if folder else None
    if args.style and kept is None:
        raise SettingError(f"--style {args.style}: no {STYLE_FILE} there; training writes it into its output folder")
    style = kept or _assumed(folder)
    style, told = _overridden(style, args)
    source = f"as {folder / STYLE_FILE} says" if folder and kept else f"assumed, for there is no {STYLE_FILE}"
    space = style.space
    return style, (
        f"prompts {source}: coordinates {space.name}, images of {space.min_pixels} to {space.max_pixels} pixels, "
        f"template {_named(style)}"
        + ("" if style.thinking else ", without thinking")
        + ("" if style.answer_format == ANSWER_TAG else ", answers as tool calls")
        + (f", up to {style.history_screens} earlier screens" if style.history_screens else "")
        + (f", cropped to {style.history_crop:g}" if style.history_screens and style.history_crop else "")
        + "".join(f"; {line}" for line in told)
    )


def of_rows(style: PromptStyle, questions: Iterable[str]) -> str:
    """How many questions of a data file bring another template than the style's, for people; empty where none does.
    They are asked as they stand."""
    found = [template_of(question) for question in questions]
    others = sum(each is not None and each[0] != style.template for each in found)
    if style.question_template is not None or not others:
        return ""
    return f"; but {others} of {len(found)} rows bring another template, and are asked with that"


def check_seen(style: PromptStyle, model: Path | None) -> None:
    """SettingError where a server that is started for a model's folder would see images of other sizes than `style`
    has: its limits are those of the folder's processor, whatever a flag says."""
    if model is None or not model.is_dir():
        return
    own, wanted = pixel_limits(model), (style.space.min_pixels, style.space.max_pixels)
    if own != wanted:
        raise SettingError(
            f"{model}: its processor takes images of {own[0]} to {own[1]} pixels, not of {wanted[0]} to {wanted[1]}: "
            f"python -m overlay.model.processor {model} OUT --min_pixels {wanted[0]} --max_pixels {wanted[1]} makes a "
            "folder that does"
        )


def folder_of(args: argparse.Namespace) -> Path | None:
    """The model's folder on this machine, where it can be seen from here."""
    model, name = getattr(args, "model", None), getattr(args, "name", "")
    folder = Path(model or name or "")
    return folder if (model or name) and folder.is_dir() else None


def _assumed(folder: Path | None) -> PromptStyle:
    """What a model is asked like that says nothing: its family's coordinates and its processor's limits."""
    space = Space()
    if folder is not None and (folder / "config.json").is_file():
        config = read_object(folder / "config.json")
        name = FAMILY_SPACES.get(config.get("model_type", ""), space.name)
        space = Space(name, *pixel_limits(folder), cell_of(config))
    return PromptStyle(load_template("zh"), space=space)


def _overridden(style: PromptStyle, args: argparse.Namespace) -> tuple[PromptStyle, list[str]]:
    own = {"name": style.space.name, "min_pixels": style.space.min_pixels, "max_pixels": style.space.max_pixels}
    asked = {"name": args.coordinate_space, "min_pixels": args.min_pixels, "max_pixels": args.max_pixels}
    flags = {"name": "coordinate_space"}
    told = [
        f"--{flags.get(name, name)} {value} in place of {own[name]}"
        for name, value in asked.items()
        if value is not None and value != own[name]
    ]
    asked = {name: own[name] if value is None else value for name, value in asked.items()}
    space = Space(**asked, cell=style.space.cell)
    style = replace(style, space=space)
    if args.thinking is not None and (wanted := args.thinking == "true") != style.thinking:
        told.append(f"--thinking {args.thinking} in place of {str(style.thinking).lower()}")
        style = replace(style, thinking=wanted)
    if args.history_screens not in (None, style.history_screens):
        told.append(f"--history_screens {args.history_screens} in place of {style.history_screens}")
        style = replace(style, history_screens=args.history_screens)
    if args.history_crop not in (None, style.history_crop):
        check_crop(args.history_crop)
        told.append(f"--history_crop {args.history_crop:g} in place of {style.history_crop:g}")
        style = replace(style, history_crop=args.history_crop)
    if args.answer_format not in (None, style.answer_format):
        told.append(f"--answer_format {args.answer_format} in place of {style.answer_format}")
        style = replace(style, answer_format=args.answer_format)
    if args.prompt_template:
        template = load_template(args.prompt_template)
        if style.template not in (None, template):
            told.append(f"--prompt_template {args.prompt_template} in place of {_named(style)}")
        language = args.prompt_template if args.prompt_template in LANGUAGES else style.language
        style = replace(style, template=template, language=language)
    return style, told


def _named(style: PromptStyle) -> str:
    """The template for people."""
    if style.question_template is not None:
        return "of VLM-R1"
    known = {load_template(name): name for name in LANGUAGES}
    return "none" if style.template is None else known.get(style.template, f"its own ({style.language})")
