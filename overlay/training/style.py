"""The prompt style of a run, from its flags and its model; the same for both backends."""

import sys
from pathlib import Path
from typing import Any

from overlay.action.space import Space
from overlay.errors import SettingError
from overlay.model.family import AUTO, model_cell, space_of
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style
from overlay.prompt.template import LANGUAGES, load_template

ASKED = ("thinking", "answer_format", "history_screens")  # flags that are a style's as they stand


def style_of_run(args: Any, model: str, question_template: str | None = None, says: bool = True) -> PromptStyle:
    """The style that the flags ask for; `--coordinate_space auto` becomes the model's own, in `args` too.

    `question_template`: VLM-R1's, for task types that are not `gui`. `says`: this process prints what was chosen.
    """
    if args.coordinate_space == AUTO:
        args.coordinate_space, why = space_of(model)
        if says:
            print(f"--coordinate_space auto: {args.coordinate_space}, for {why}", file=sys.stderr)
    space = Space(args.coordinate_space, args.min_pixels, args.max_pixels, model_cell(model))
    language = args.prompt_template if args.prompt_template in LANGUAGES else "zh"
    defaults = PromptStyle()
    asked: dict[str, Any] = {name: getattr(args, name, getattr(defaults, name)) for name in ASKED}
    asked |= {"language": language, "space": space}
    if args.task_type == "gui":
        template = load_template(args.prompt_template)
        style = PromptStyle(template, images_first=getattr(args, "images_first", False), **asked)
    elif question_template is not None:
        reasons = {"thinking": "thinking", "answer_format": "<answer>"}
        for name, wanted in reasons.items():
            if asked[name] != getattr(defaults, name):
                raise SettingError(
                    f"--{name} {str(asked[name]).lower()}: VLM-R1's template of --task_type {args.task_type} asks for "
                    f"{wanted}: use gui"
                )
        style = PromptStyle(images_first=True, question_template=question_template, **asked)
    else:
        style = PromptStyle(None, images_first=args.images_first, **asked)
    before = read_style(Path(model)) if says and Path(model).is_dir() else None
    for line in contradictions(before, style) if before else ():
        print(f"{model} was trained with {line}: say so with that flag, or it has to learn the other", file=sys.stderr)
    return style


def contradictions(before: PromptStyle, now: PromptStyle) -> list[str]:
    """What is asked otherwise than it was, a line each."""
    pairs = {
        "coordinates": (before.space.name, now.space.name),
        "--min_pixels": (before.space.min_pixels, now.space.min_pixels),
        "--max_pixels": (before.space.max_pixels, now.space.max_pixels),
        "images first": (before.images_first, now.images_first),
        "--thinking": (before.thinking, now.thinking),
        "--answer_format": (before.answer_format, now.answer_format),
        "--history_screens": (before.history_screens, now.history_screens),
    }
    told = [f"{name} {old}; this run has {new}" for name, (old, new) in pairs.items() if old != new]
    if None not in (before.template, now.template) and before.template != now.template:
        told.append("another prompt template than this run's")
    return told
