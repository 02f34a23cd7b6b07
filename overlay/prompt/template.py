"""The GUI prompt: the template, its wording for one or two screenshots, and images placed at their marks."""

import json
from pathlib import Path
from typing import Any

from overlay.action.completion import load_json
from overlay.action.reserved import MARK
from overlay.errors import DataError, SettingError

LANGUAGES = ("zh", "en")
SCREEN_FIELDS = ("screen_path1", "screen_path2")
SCREENS_MARK = "{screens}"
# What the model is told about the screenshots, by (previous present, current present).
SCREENS = {
    "zh": {
        (True, True): "下面附有两张截图：第一张是上一步的屏幕（screen_path1），第二张是当前屏幕（screen_path2）。",
        (False, True): "下面附有一张截图：当前屏幕（screen_path2）；没有上一步的截图。",
        (True, False): "下面附有一张截图：上一步的屏幕（screen_path1）；没有当前屏幕的截图。",
        (False, False): "下面没有截图。",
    },
    "en": {
        (True, True): "Two screenshots follow: the first is the previous screen (screen_path1), the second the current"
        " screen (screen_path2).",
        (False, True): "One screenshot follows: the current screen (screen_path2); there is none of the previous step.",
        (True, False): "One screenshot follows: the previous screen (screen_path1); there is none of the current one.",
        (False, False): "No screenshot follows.",
    },
}


def load_template(name_or_path: str) -> str:
    """Template text by language (`zh`, `en`) or from a user's file (UTF-8). Braces in it are plain text, except that
    `{screens}`, where it stands, becomes the sentence about the screenshots. Raises SettingError."""
    if name_or_path in LANGUAGES:
        return (Path(__file__).parent / f"gui_{name_or_path}.txt").read_text(encoding="utf-8")
    path = Path(name_or_path)
    if not path.is_file():
        raise SettingError(f"prompt template {name_or_path!r} is neither one of {LANGUAGES} nor a file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"prompt template {name_or_path!r}: {error}") from error


def render_question(template: str, fields: dict[str, Any], language: str = "zh") -> str:
    """The human turn: template, then the step's input as one line of JSON with each present screen as `<image>`.

    The previous screen's mark always comes before the current one's, whatever the order of the keys in `fields`.
    """
    previous, current = (bool(fields.get(name)) for name in SCREEN_FIELDS)
    shown = {}
    for name, value in fields.items():
        if name not in SCREEN_FIELDS:
            shown[name] = value
        elif name not in shown:
            shown.update({screen: MARK if fields[screen] else "" for screen in SCREEN_FIELDS if screen in fields})
    text = template.replace(SCREENS_MARK, SCREENS[language][previous, current])
    return text + json.dumps(shown, ensure_ascii=False)


def step_input(problem: str) -> tuple[str, dict[str, Any]]:
    """(what stands before it, the step's input) of a question that ends with it; the input is empty where none does."""
    start = problem.find('{"')
    while start >= 0:
        try:
            value = json.loads(problem[start:])
            return (problem[:start], value) if isinstance(value, dict) else (problem, {})
        except RecursionError:  # it nests without end
            return problem, {}
        except ValueError:
            start = problem.find('{"', start + 1)
    return problem, {}


def template_of(problem: str) -> tuple[str, str] | None:
    """(template, language) with which `render_question` made a question, None for questions that it did not make."""
    before, fields = step_input(problem)
    if not fields or not before or MARK in before:
        return None
    for language, sentences in SCREENS.items():
        for sentence in sentences.values():
            if sentence in before:
                return before.replace(sentence, SCREENS_MARK), language
    return None


def with_template(template: str, problem: str, language: str) -> str | None:
    """A problem that is only the step's input as JSON, its images' marks in it or all in front, with the template
    before it; None for any other text. Marks in front (rows that have none get them there) move to the screens' places.
    """
    text, marks = problem.lstrip(), 0
    while text.startswith(MARK):
        text, marks = text.removeprefix(MARK).lstrip(), marks + 1
    fields = load_json(text) if text.startswith("{") else None
    if not isinstance(fields, dict):
        return None
    if marks:
        named = [name for name in SCREEN_FIELDS if fields.get(name)]
        if len(named) != marks:  # the input does not tell: a single one is the current screen
            named = SCREEN_FIELDS[-marks:]
        if len(named) != marks or MARK in text:
            return None
        return render_question(template, {**fields, **{name: name in named for name in SCREEN_FIELDS}}, language)
    both = text.count(MARK) == len(SCREEN_FIELDS)
    previous, current = (both or fields.get(name) == MARK for name in SCREEN_FIELDS)
    return template.replace(SCREENS_MARK, SCREENS[language][previous, current]) + problem


def place_images(text: str, count: int, images_first: bool = False) -> list[dict[str, str]]:
    """Chat content of a human turn: text parts with `{"type": "image"}` where the marks stand.

    `images_first` is upstream's layout: all images before the text, marks removed. Raises DataError when the number of
    marks is not `count`.
    """
    parts = text.split(MARK)
    if len(parts) - 1 != count:
        raise DataError(f"{len(parts) - 1} {MARK} marks but {count} images")
    if images_first:
        return [{"type": "image"}] * count + [{"type": "text", "text": "".join(parts)}]
    content = []
    for position, part in enumerate(parts):
        if position:
            content.append({"type": "image"})
        if part:
            content.append({"type": "text", "text": part})
    return content
