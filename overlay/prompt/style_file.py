"""`prompt_style.json`: how a checkpoint was asked while it was trained, so that all who ask it later ask the same.

Training writes it into its output folder and into every checkpoint; eval, infer, play and local read it. No torch.
"""

import json
from dataclasses import replace
from pathlib import Path

from overlay.action.completion import ANSWER_TAG, THINK_FIELDS
from overlay.action.space import Space
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle

STYLE_FILE = "prompt_style.json"
_TEXTS = ("template", "language", "images_first", "question_template")
# What earlier versions did not write: how they always asked.
_LATER = {"thinking": True, "answer_format": ANSWER_TAG, "history_screens": 0, "history_crop": 0.0}
_SPACE = {"coordinate_space": "name", "min_pixels": "min_pixels", "max_pixels": "max_pixels", "cell": "cell"}


def write_style(style: PromptStyle, folder: Path) -> None:
    """Write the file into a model's folder."""
    content = {name: getattr(style, name) for name in _TEXTS}
    content |= {name: getattr(style.space, field) for name, field in _SPACE.items()}
    content |= {name: getattr(style, name) for name in _LATER} | {"think_fields": list(THINK_FIELDS)}
    (folder / STYLE_FILE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_style(folder: Path) -> PromptStyle | None:
    """The style of a model's folder, None where it has no such file. SettingError for one that cannot be followed."""
    file = folder / STYLE_FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        fields = content["think_fields"]
        space = Space(**{field: content[name] for name, field in _SPACE.items()})
        later = {name: content.get(name, before) for name, before in _LATER.items()}
        style = replace(PromptStyle(space=space), **later, **{name: content[name] for name in _TEXTS})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{file}: not a prompt style ({type(error).__name__}: {error})") from error
    if tuple(fields) != THINK_FIELDS:
        raise SettingError(f"{file}: trained with the thinking fields {fields}; this version reads {THINK_FIELDS}")
    return style
