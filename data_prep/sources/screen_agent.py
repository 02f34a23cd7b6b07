"""ScreenAgent (niuzaisheng/ScreenAgent): a folder for each session, a JSON for each exchange, screens in `images/`.

What an exchange is shows in its actions: a plan (`PlanAction`), steps, or an evaluation. Several steps of one exchange
are done on one screen. Tasks and plans come in Chinese and English. Negatives (`_neg_`), made to train an evaluator,
are left out. A desktop knows more than a finger: double clicks, right clicks, moves, drags and keys are left out.
`clickable_area` gives the box of a click; a scroll moves the content as its name says.

A step is described by its sub-task, an item of the plan in force; where one takes several actions, by sub-task and
action, and the plan does not line up with the history then.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.sources.common import (
    Episode,
    Reading,
    Report,
    Said,
    SourceStep,
    read_json,
    scroll,
    size_of,
    tapped,
    typed,
)  # fmt: skip
from data_prep.sources.tree import in_words
from overlay.action.action import Box
from overlay.errors import SourceError

_SUBTASK = {
    "zh": re.compile(r'现在的子任务是\s*["“](.+?)["”]\s*[，。]?\s*\n'),
    "en": re.compile(r'current subtask is\s*["“](.+?)["”]\s*[.,]', re.IGNORECASE),
}


@dataclass
class _Plan:
    """The items of a plan, as the session has them and in the language asked for, and how far it has come."""

    own: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    at: int = 0


def episodes(source: Path, reading: Reading) -> Iterator[Episode]:
    """Episodes of all session folders under a folder, or of one."""
    folders = sorted({file.parent for file in source.rglob("*.json")})
    if not folders:
        raise SourceError(f"{source}: no session folders with JSON files")
    for folder in folders:
        if reading.wants(folder.name):
            yield from reading.attempt(folder, lambda folder=folder: _session(folder, reading))


def _session(folder: Path, reading: Reading) -> Episode | None:
    plan, task, steps = _Plan(), "", []
    for file in sorted(folder.glob("*.json")):  # names begin with the time
        if "_neg_" in file.stem:
            reading.report.counts["exchanges left out: negatives"] += 1
            continue
        record = read_json(file)
        actions = record.get("actions") if isinstance(record, dict) else None
        if not isinstance(actions, list) or "saved_image_name" not in record:
            reading.report.counts["files left out: no exchange (actions, saved_image_name)"] += 1
            continue
        try:
            task = record.get(f"task_prompt_{reading.language}") or record["task_prompt"]
            kinds = {action["action_type"] for action in actions}
            if not actions:
                reading.report.counts["exchanges left out: without actions"] += 1
            elif "PlanAction" in kinds:
                plan = _plan(record, reading)
            elif kinds <= {"EvaluateSubTaskAction"}:
                reading.report.counts["exchanges without a step: evaluations"] += 1
            else:
                steps += _exchange(folder, record, plan, reading)
        except (KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"{file.name} lacks or breaks {error}") from error
    return Episode(folder.name, task, "", [], steps, language=reading.language) if steps else None


def _plan(record: dict, reading: Reading) -> _Plan:
    reading.report.counts["exchanges without a step: plans"] += 1
    own = [action["element"] for action in record["actions"] if action["action_type"] == "PlanAction"]
    told = _elements(record.get(f"LLM_response_editer_{reading.language}") or "")
    if len(told) != len(own):
        reading.report.counts["plans without a translation, in the session's own language"] += 1
        told = own
    return _Plan(own, told)


def _elements(text: str) -> list[str]:
    """The plan in a reply: the JSON list that it holds."""
    found = re.search(r"\[.*\]", text, re.DOTALL)
    try:
        items = json.loads(found[0], strict=False) if found else []
        return [item["element"] for item in items if item.get("action_type") == "PlanAction"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _exchange(folder: Path, record: dict, plan: _Plan, reading: Reading) -> list[SourceStep]:
    screen = _screen(folder, record["saved_image_name"])
    subtask = _subtask(record, plan, reading.language)
    steps = []
    for action in record["actions"]:
        said, elements = _said(action, record, screen, reading.report)
        words = subtask
        if len(record["actions"]) > 1:
            keys = action.get("keyboard_key") or ""
            done = f"{in_words(said, reading.language)} {'+'.join(keys) if isinstance(keys, list) else keys}"
            words = f"{subtask}: {done.strip()}"
        steps.append(SourceStep(screen, said, words, elements, plan.told))
    return steps


def _subtask(record: dict, plan: _Plan, language: str) -> str:
    """The exchange's sub-task in the language asked for: the plan's item where it is one."""
    own = [found[1] for text in _SUBTASK.values() if (found := text.search(record.get("send_prompt") or ""))]
    own = [*own, record.get("current_task") or ""]
    for name in own:
        for at in (*range(plan.at, len(plan.own)), *range(plan.at)):
            if plan.own[at].strip() == name.strip():
                plan.at = at
                return plan.told[at]
    found = _SUBTASK[language].search(record.get(f"send_prompt_{language}") or "")
    return (found[1] if found else own[0]) or record.get(f"task_prompt_{language}") or record["task_prompt"]


def _screen(folder: Path, name: str) -> bytes:
    for place in (folder / "images" / name, folder / name):
        if place.is_file():
            return place.read_bytes()
    raise SourceError(f"{folder / 'images' / name}: no such screenshot")


def _said(action: dict, record: dict, screen: bytes, report: Report) -> tuple[Said, list[Box] | None]:
    kind = action["action_type"]
    if kind == "WaitAction":
        return Said("wait"), None
    if kind == "KeyboardAction":
        text = action.get("keyboard_text") or action.get("keyboard_input")
        keys = action.get("keyboard_key") or action.get("keyboard_action_type") in ("press", "down", "up")
        return Said(unsaid="key press") if keys and not text else typed(text or ""), None
    if kind != "MouseAction":
        return Said(unsaid=str(kind)), None
    mouse, size = str(action.get("mouse_action_type")), size_of(screen)
    if mouse in ("scroll_up", "scroll_down"):
        return Said("swipe", scroll(mouse.removeprefix("scroll_"), size)), None
    if mouse != "click" or (action.get("mouse_button") or "left") != "left":
        return Said(unsaid=f"mouse {action.get('mouse_button') or ''} {mouse}".replace("  ", " ")), None
    if not action.get("mouse_position"):
        return Said(unsaid="mouse click without a place"), None
    across, down = size[0] / (record.get("video_width") or size[0]), size[1] / (record.get("video_height") or size[1])

    def pixels(place: dict) -> tuple[float, float]:
        return place["width"] * across, place["height"] * down

    area = action.get("clickable_area")
    elements = [(*pixels(area["upper_left_position"]), *pixels(area["lower_right_position"]))] if area else None
    return tapped(*pixels(action["mouse_position"]), size, elements or [], report), elements
