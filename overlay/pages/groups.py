"""What the pages show of completions: a group for each prompt, with an answer for each of its completions."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overlay.action.action import Action, parse_action
from overlay.action.completion import ANSWER_TAG
from overlay.action.match import match
from overlay.errors import DataError
from overlay.metrics.flags import gold_action, succeeds
from overlay.metrics.rules.step import screen_of
from overlay.pages.drawing import screen, shape, shapes
from overlay.prompt.template import step_input

SIDE = 640  # pixels of an embedded screen's longer side
LONGEST = 90  # characters of an action beside its verdict


def told(action: Action | None) -> str:
    """An action in a few words: its type and parameter; empty for none."""
    if action is None:
        return ""
    parameter = action.parameter
    text = parameter if isinstance(parameter, str) else json.dumps(parameter, ensure_ascii=False, default=str)
    text = f"{action.type} {text}" if parameter not in (None, "") else action.type
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def answered(record: dict[str, Any]) -> Action | None:
    """The action of a rollout record's completion; runs of earlier versions do not say in what format they asked."""
    return parse_action(record["completion"], record.get("answer_format") or ANSWER_TAG)


def verdict(record: dict[str, Any]) -> bool | None:
    """Whether a rollout record's completion is right by the default rule; None where gold is no action."""
    if parse_action(record["solution"] or "") is None:
        return None
    return succeeds(answered(record), gold_action(record["solution"]), screen_of(record))


def further(record: dict[str, Any]) -> list[str]:
    """Further right actions of a rollout record; runs of earlier versions have none."""
    return list(record.get("also") or ())


def answer_of(record: dict[str, Any], right: bool | None) -> dict[str, Any]:
    """One completion of a rollout record: its action, whether that is `right`, its rewards, and what to draw."""
    action, size = answered(record), record.get("screen_size") or (1, 1)
    golds = [parse_action(record["solution"] or ""), *map(parse_action, further(record))]
    scale = record.get("coordinate_scale") or (1.0, 1.0)
    return {
        "completion": record["completion"],
        "told": told(action),
        "right": right,
        "rewards": record["rewards"],
        "advantage": record["advantage"],
        "match": max(match(action, gold, size) for gold in golds),
        "shape": shape(action, "answer", (scale[0], scale[1])),
    }


def group_of(record: dict[str, Any]) -> dict[str, Any]:
    """A prompt of a rollout record, without answers; images by path."""
    gold, (sx, sy) = parse_action(record["solution"] or ""), record.get("coordinate_scale") or (1.0, 1.0)
    return {
        "step": record["step"],
        "mode": record["mode"],
        "source": Path(record["source"] or "").name,
        "asked": str(step_input(record["problem"] or "")[1].get("task_content") or ""),
        "images": record["image_path"] or [],
        "type": gold.type if gold else "other",
        "told": told(gold),
        "shapes": shapes(
            *(shape(parse_action(text), "also", (sx, sy)) for text in further(record)), shape(gold, "gold", (sx, sy))
        ),
        "solution": record["solution"],
        "also": further(record),
        "problem": record["problem"],
        "answers": [],
    }


def groups(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records by prompt (step, mode, row), in the order of each one's first."""
    found: dict[tuple, dict[str, Any]] = {}
    for record in records:
        key = (record["step"], record["mode"], record["source"])
        if key not in found:
            found[key] = group_of(record)
        found[key]["answers"].append(answer_of(record, verdict(record)))
    return list(found.values())


def embedded(found: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The screens of groups by path; None where the file is gone or broken."""
    screens: dict[str, dict[str, Any] | None] = {}
    for path in (path for one in found for path in one["images"]):
        if path not in screens:
            try:
                screens[path] = screen(path, SIDE)
            except DataError:
                screens[path] = None
    return screens
