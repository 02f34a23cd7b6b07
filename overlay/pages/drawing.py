"""Screens as data URLs, and what to draw on them for an action. Shared by the pages and by pictures."""

import math
from typing import Any

from overlay.action.action import BOX_TYPES, Action, as_box
from overlay.action.space import Scale, rescale
from overlay.data.images import encode, open_image, read_png_or_jpeg

WIDE = math.pi / 6  # of each side of an arrowhead
COLOURS = {"gold": "#1a8f3c", "also": "#6aa84f", "answer": "#1f5fd1", "before": "#6d737b"}


def screen(path: str, side: int | None = None) -> dict[str, Any]:
    """An image file as {uri, width, height}, size in pixels of the file; no longer than `side` as it is embedded.
    Raises DataError."""
    image = read_png_or_jpeg(path)
    width, height = image.size
    if side and max(image.size) > side:
        small = open_image(path)
        small.thumbnail((side, side))
        image = encode(small, "jpeg", quality=80)
    return {"uri": image.url, "width": width, "height": height}


def shape(action: Action | None, kind: str, scale: Scale = (1.0, 1.0)) -> dict[str, Any] | None:
    """What to draw for an action on its screen, in the image's own pixels: a box, a path, or nothing.

    `kind`: one of `COLOURS`; `scale`: of the space that the action's coordinates are in.
    """
    if action is None or action.coordinates is None or action.type not in (*BOX_TYPES, "swipe"):
        return None
    pixels = rescale(action.coordinates, scale, back=True)
    if action.type == "swipe":
        return {"kind": kind, "path": pixels, "d": arrow(pixels)} if len(pixels) == 4 else None
    x1, y1, x2, y2 = as_box(pixels)
    return {"kind": kind, "box": (x1, y1, max(x2 - x1, 1), max(y2 - y1, 1))}


def head(path: tuple[float, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The open ends of an arrowhead at the end of a finger's path, a quarter of its length."""
    x1, y1, x2, y2 = path
    angle, length = math.atan2(y2 - y1, x2 - x1), math.dist((x1, y1), (x2, y2)) / 4
    one, other = (angle + math.pi + turn for turn in (-WIDE, WIDE))
    return (
        (x2 + length * math.cos(one), y2 + length * math.sin(one)),
        (x2 + length * math.cos(other), y2 + length * math.sin(other)),
    )


def arrow(path: tuple[float, ...]) -> str:
    """A finger's path (x1, y1, x2, y2) as SVG draws it, with its arrowhead.

    >>> arrow((0, 0, 0, 80))
    'M0 0 L0 80 M-10 63 L0 80 L10 63'
    """
    x1, y1, x2, y2 = path
    (ax, ay), (bx, by) = head(path)
    return f"M{x1:g} {y1:g} L{x2:g} {y2:g} M{round(ax)} {round(ay)} L{x2:g} {y2:g} L{round(bx)} {round(by)}"


def shapes(*wanted: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Those of several `shape`s that there are."""
    return [each for each in wanted if each]
