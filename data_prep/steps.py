"""The source tree of annotated steps: find them in order, read one, say everything that is wrong with it.

`<tasks>/<task id, digits>/step_<n>.json` with its images beside it; other folders and JSON files are passed over, and
named.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from overlay.action.action import ACTION_NAMES, BOX_TYPES, INQUIRY_FIELDS, TEXT_TYPES, parse_coordinates
from overlay.action.completion import load_json
from overlay.action.reserved import RESERVED
from overlay.data.earlier import STEP, earlier_screens
from overlay.data.images import check_image
from overlay.data.rows import ANNOTATIONS, RowError, also_of, annotations_of
from overlay.prompt.template import SCREEN_FIELDS

# Optional, beside input and output; they become columns of the row.
COLUMNS = (*ANNOTATIONS, "group", "aligned", "thinking", "also")


@dataclass
class Step:
    """One step file: its parsed halves, image paths relative to the tree ('/' between parts), its columns of `COLUMNS`,
    and what is wrong."""

    path: Path
    input: dict = field(default_factory=dict)
    output: dict = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    columns: dict = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def task_folders(root: Path) -> list[str]:
    """Names of the task folders, by number."""
    with os.scandir(root) as entries:
        names = [e.name for e in entries if e.name.isascii() and e.name.isdigit() and e.is_dir()]
    return sorted(names, key=lambda name: (int(name), name))


def passed_over(root: Path) -> Iterator[str]:
    """Folders that are no task though they hold files, and JSON files that are no step, relative to the tree."""
    for entry in sorted(os.scandir(root), key=lambda each: each.name):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if entry.name.endswith(".json"):
                yield entry.name
        elif not (entry.name.isascii() and entry.name.isdigit()):
            yield f"{entry.name}/"
        else:
            for name in sorted(os.listdir(entry.path)):
                if name.endswith(".json") and not STEP.fullmatch(name):
                    yield f"{entry.name}/{name}"


def read_step(root: Path, path: Path, decode: bool) -> Step:
    """Read and check one step. Problems are collected, not raised; `decode` also decodes each image's pixels."""
    step = Step(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        step.problems.append(f"unreadable JSON: {error}")
        return step
    if not isinstance(record, dict):
        step.problems.append("not a JSON object")
        return step
    for half in ("input", "output"):
        if not isinstance(record.get(half), dict):
            step.problems.append(f"missing key {half!r}")
    if not step.problems:
        step.input, step.output = record["input"], record["output"]
        sizes = _check_input(step, root, decode)
        size = sizes[-1] if sizes else None
        step.problems.extend(check_output(step.output, size))
        step.columns = {name: record[name] for name in COLUMNS if record.get(name) is not None}
        if earlier := _earlier(step, root):
            step.columns["earlier"] = earlier
        try:
            annotations_of(step.columns)
            step.problems.extend(check_also(also_of(step.columns), size))
        except RowError as error:
            step.problems.append(str(error))
    return step


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_input(step: Step, root: Path, decode: bool) -> list[tuple[int, int]]:
    """Check the input half and fill in `step.images`; returns the sizes (width, height) of the images that are fine."""
    sizes = []
    for name in ("task_content", "action_type_list"):
        if not step.input.get(name):
            step.problems.append(f"missing key 'input.{name}'")
    for text in _texts({k: v for k, v in step.input.items() if k not in SCREEN_FIELDS}):
        step.problems.extend(f"the text holds the reserved mark {mark}" for mark in RESERVED if mark in text)
    for name in SCREEN_FIELDS:
        value = step.input.get(name)
        if value in (None, ""):
            continue
        if not isinstance(value, str):
            step.problems.append(f"{name} is not a string")
            continue
        relative = _below(step.path, value)
        if os.path.isabs(value) or relative == ".." or relative.startswith("../"):
            step.problems.append(f"{name} {value!r} leaves the task tree")
            continue
        size, problem = check_image(root / relative, decode)
        if problem:
            step.problems.append(f"{name} {value!r}: {problem}")
        else:
            step.images.append(relative)
            sizes.append(size)
    return sizes


def _below(step: Path, name: str) -> str:
    """A screen's path relative to the tree, '/' between parts."""
    return os.path.normpath(os.path.join(step.parent.name, name)).replace(os.sep, "/")


def _earlier(step: Step, root: Path) -> list[dict]:
    """The screens of earlier steps as a row has them: path, as `step.images`, and where the action landed; one that
    cannot be read is left out, and reported with its own step."""
    shown = [step.input[name] for name in SCREEN_FIELDS if isinstance(step.input.get(name), str)]
    found = ((_below(step.path, name), point) for name, point in earlier_screens(step.path, shown))
    return [
        {"image": path, "point": point and list(point)}
        for path, point in found
        if not path.startswith("../") and not check_image(root / path, decode=False)[1]
    ]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def check_output(output: object, size: tuple[int, int] | None) -> list[str]:
    """What is wrong with a gold action; `size` (width, height) in pixels is the screen its coordinates belong to."""
    if not isinstance(output, dict):
        return ["the action is not a JSON object"]
    kind, parameter = output.get("action_type"), output.get("action_parameter")
    if not isinstance(kind, str) or kind not in ACTION_NAMES:
        return [f"unknown action type {kind!r} (known: {', '.join(ACTION_NAMES)})"]
    if not isinstance(parameter, dict):
        return ["missing key 'action_parameter'"]
    if list(parameter) != [kind]:
        return [f"the parameter of {kind} stands under {', '.join(map(repr, parameter)) or 'no name'}"]
    value = parameter[kind]
    if kind in BOX_TYPES or kind == "swipe":
        return _check_coordinates(kind, value, size)
    if kind == "inquiry":
        return _check_inquiry(value)
    if not isinstance(value, str):
        return [f"the parameter of {kind} is not a string"]
    if kind in TEXT_TYPES:
        return [f"{kind} without its text"] if kind in ("open_app", "type") and not value else []
    return [f"{kind} takes an empty string, not {value!r}"] if value else []


def check_also(further: list[str], size: tuple[int, int] | None) -> list[str]:
    """What is wrong with the further right actions (JSON) of a row whose gold is an action; see `check_output`."""
    return [
        f"also[{number}]: {reason}"
        for number, text in enumerate(further)
        for reason in check_output(load_json(text), size)
    ]


def _check_coordinates(kind: str, value: object, size: tuple[int, int] | None) -> list[str]:
    numbers = parse_coordinates(value)
    if numbers is None or len(numbers) != 4:
        return [f"{kind} {value!r} is not x1,y1,x2,y2"]
    problems = []
    x1, y1, x2, y2 = numbers
    if size and min(size) > 1 and max(numbers) <= 1 and min(numbers) >= 0:
        return [f"{kind} {value!r} looks like shares of the screen (0 to 1): give pixels of {size[0]}x{size[1]}"]
    if kind in BOX_TYPES and (x1 >= x2 or y1 >= y2):
        problems.append(f"box {value!r} has x1 >= x2 or y1 >= y2")
    elif kind in BOX_TYPES and min(x2 - x1, y2 - y1) < 1:
        problems.append(f"box {value!r} is less than a pixel wide or high")
    if kind == "swipe" and (x1, y1) == (x2, y2):
        problems.append(f"swipe {value!r} does not move")
    if size and not (min(x1, x2) >= 0 and max(x1, x2) <= size[0] and min(y1, y2) >= 0 and max(y1, y2) <= size[1]):
        problems.append(f"{kind} {value!r} lies outside its {size[0]}x{size[1]} image")
    return problems


def _check_inquiry(value: object) -> list[str]:
    try:
        fields = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        fields = None
    missing = [name for name in INQUIRY_FIELDS if not isinstance(fields, dict) or name not in fields]
    return [f"inquiry lacks {', '.join(missing)} in its JSON string"] if missing else []
