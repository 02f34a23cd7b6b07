"""The prompt style of a run, from its flags and its model; the same for both backends."""

import sys
from pathlib import Path
from typing import Any

from overlay.action.space import Space
from overlay.errors import SettingError
from overlay.model.family import AUTO, model_cell, space_of
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import STYLE_FILE, read_style
from overlay.prompt.template import LANGUAGES, load_template
from overlay.refused import defaults
from overlay.settings import DataArguments

UNSAID = {name: defaults(DataArguments)[name] for name in ("min_pixels", "max_pixels")}
# Flags that are a style's as they stand; None: not said.
ASKED = ("thinking", "answer_format", "history_screens", "history_crop")
VLM_R1S = {"thinking": "thinking", "answer_format": "<answer>"}  # what its templates for other tasks ask for


def style_of_run(args: Any, model: str, question_template: str | None = None, says: bool = True) -> PromptStyle:
    """The style that the flags ask for; what they leave open is as the model was trained, where its folder says that,
    and becomes part of `args`. `--coordinate_space auto` is then the model's own, else its family's.

    `question_template`: VLM-R1's, for task types that are not `gui`. `says`: this process prints what was chosen.
    """
    before = read_style(Path(model)) if Path(model).is_dir() else None
    crop = getattr(args, "history_crop", None)
    taken = as_trained(args, model, before)
    if crop and not args.history_screens:
        raise SettingError(f"--history_crop {crop:g}: does nothing without --history_screens, whose screens it crops")
    if says and taken:
        print(f"{model}/{STYLE_FILE}: {' '.join(taken)}, for it was trained so", file=sys.stderr)
    if args.coordinate_space == AUTO:
        args.coordinate_space, why = space_of(model)
        if says:
            print(f"--coordinate_space auto: {args.coordinate_space}, for {why}", file=sys.stderr)
    space = Space(args.coordinate_space, args.min_pixels, args.max_pixels, model_cell(model))
    style = _asked(args, before, space, question_template)
    for line in contradictions(before, style) if before and says else ():
        print(f"{model} was trained with {line}, which it has to learn", file=sys.stderr)
    return style


def as_trained(args: Any, model: str, before: PromptStyle | None) -> list[str]:
    """Give `args` what they leave open: as the model was trained, else the defaults. Returns the flags taken from the
    model, for people."""
    taken, known = [], before or PromptStyle()
    for name in ASKED:
        if getattr(args, name, None) is None:
            setattr(args, name, own := getattr(known, name))
            taken += [f"--{name} {_said(own)}"] if own != getattr(PromptStyle(), name) else []
    if args.prompt_template is None:
        ours = {load_template(name): name for name in LANGUAGES}
        own = before.template if before and args.task_type == "gui" else None
        args.prompt_template = "zh" if own is None else ours.get(own, str(Path(model) / STYLE_FILE))
        taken += [f"--prompt_template {args.prompt_template}"] if own else []
    if before is None:
        return taken
    for name in UNSAID:
        own = getattr(before.space, name)
        if getattr(args, name) == UNSAID[name] != own:
            setattr(args, name, own)
            taken.append(f"--{name} {own}")
    return taken


def _asked(args: Any, before: PromptStyle | None, space: Space, question_template: str | None) -> PromptStyle:
    """The style of flags that leave nothing open."""
    named = args.prompt_template
    mine = before is not None and Path(named).name == STYLE_FILE
    language = named if named in LANGUAGES else before.language if before and mine else "zh"
    asked: dict[str, Any] = {name: getattr(args, name) for name in ASKED} | {"language": language, "space": space}
    first = getattr(args, "images_first", False)
    if args.task_type == "gui":
        return PromptStyle(before.template if before and mine else load_template(named), images_first=first, **asked)
    if question_template is None:
        return PromptStyle(None, images_first=first, **asked)
    for name, wanted in VLM_R1S.items():
        if asked[name] != getattr(PromptStyle(), name):
            raise SettingError(
                f"--{name} {_said(asked[name])}: VLM-R1's template of --task_type {args.task_type} asks for {wanted}: "
                "use gui"
            )
    return PromptStyle(images_first=True, question_template=question_template, **asked)


def _said(value: Any) -> str:
    """A flag's value as one gives it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


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
        "--history_crop": (before.history_crop, now.history_crop),
    }
    told = [f"{name} {_said(old)}; this run has {_said(new)}" for name, (old, new) in pairs.items() if old != new]
    if None not in (before.template, now.template) and before.template != now.template:
        told.append("another prompt template than this run's")
    return told
