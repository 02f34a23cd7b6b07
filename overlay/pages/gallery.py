"""What `templates/gallery.html` shows: a card for each answer, and its screens, each embedded once."""

from pathlib import Path
from typing import Any

from overlay.action.action import parse_action
from overlay.action.match import match
from overlay.errors import DataError
from overlay.pages.drawing import screen, shape, shapes

SIDE = 640  # pixels of an embedded screen's longer side
SHOWN = ("step", "mode", "rewards", "advantage", "completion", "solution", "problem")


def card(record: dict[str, Any]) -> dict[str, Any]:
    """The card of one record of a rollout file; images by path."""
    answered, gold = parse_action(record["completion"]), parse_action(record["solution"] or "")
    sx, sy = record.get("coordinate_scale") or (1.0, 1.0)
    width, height = record.get("screen_size") or (1, 1)
    return {
        **{name: record[name] for name in SHOWN},
        "source": Path(record["source"] or "").name,
        "images": record["image_path"] or [],
        "type": gold.type if gold else "other",
        "answered": answered.type if answered else "none",
        "match": match(answered, gold, (width, height)),
        "shapes": shapes(shape(gold, "gold", (sx, sy)), shape(answered, "answer", (sx, sy))),
    }


def embedded(cards: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The screens of the cards by path; None where the file is gone or broken."""
    screens: dict[str, dict[str, Any] | None] = {}
    for path in (path for one in cards for path in one["images"]):
        if path not in screens:
            try:
                screens[path] = screen(path, SIDE)
            except DataError:
                screens[path] = None
    return screens
