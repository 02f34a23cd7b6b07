"""ScreenAgent (niuzaisheng/ScreenAgent): a folder for each session, a JSON for each exchange, screens in `images/`.

Only exchanges with status `acting` hold actions; one exchange may hold several, done on one screen, of which each
becomes a step on that screen. A desktop knows more than a finger: double clicks, right clicks, moves, drags and keys
are left out. `clickable_area` gives the box of a click; a scroll moves the content as its name says.
"""

from collections.abc import Iterator
from pathlib import Path

from data_prep.sources.common import Episode, Report, SourceStep, point, read_json, scroll, size_of
from overlay.errors import SourceError


def episodes(source: Path, report: Report) -> Iterator[Episode]:
    """Episodes of all session folders under a folder."""
    folders = sorted({file.parent for file in source.rglob("*.json")})
    if not folders:
        raise SourceError(f"{source}: no session folders with JSON files")
    for folder in folders:
        steps, task = [], ""
        for file in sorted(folder.glob("*.json")):
            record = read_json(file)
            if not isinstance(record, dict) or record.get("status") != "acting" or file.stem.endswith("_neg_eval"):
                continue
            try:
                task = record["task_prompt"]
                screen = _screen(folder, record["saved_image_name"])
                words = record.get("current_task") or task
                steps += [_step(screen, action, words, report) for action in record["actions"]]
            except (KeyError, TypeError) as error:
                raise SourceError(f"{file}: lacks {error}") from error
        if steps:
            yield Episode(folder.name, task, "", [], steps)


def _screen(folder: Path, name: str) -> bytes:
    for place in (folder / "images" / name, folder / name):
        if place.is_file():
            return place.read_bytes()
    raise SourceError(f"{folder / 'images' / name}: no such screenshot")


def _step(screen: bytes, action: dict, words: str, report: Report) -> SourceStep:
    size, kind = size_of(screen), action["action_type"]
    if kind == "WaitAction":
        return SourceStep(screen, "wait", "", words)
    if kind == "KeyboardAction":
        if action.get("keyboard_text") is not None:
            return SourceStep(screen, "type", action["keyboard_text"], words)
        return SourceStep(screen, description=words, unsaid="key press")
    if kind != "MouseAction":
        return SourceStep(screen, description=words, unsaid=kind)
    mouse = action["mouse_action_type"]
    if mouse in ("scroll_up", "scroll_down"):
        return SourceStep(screen, "swipe", scroll(mouse.removeprefix("scroll_"), size), words)
    if mouse != "click" or action.get("mouse_button", "left") != "left":
        return SourceStep(screen, description=words, unsaid=f"mouse {action.get('mouse_button', '')} {mouse}".strip())
    where, area = action["mouse_position"], action.get("clickable_area")
    elements = []
    if area:
        corners = area["upper_left_position"], area["lower_right_position"]
        elements = [tuple(corner[side] for corner in corners for side in ("width", "height"))]
    return SourceStep(screen, "click", point(where["width"], where["height"], size, elements, report), words)
