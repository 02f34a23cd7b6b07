"""A square window of a screen, named by the screen's path: what `--history_crop` shows of earlier screens.

A cropped screen is `<path>#crop=<share>@<x>,<y>`: the reader of images (`overlay.data.images`) cuts the window out, so
all that is handed a path has its size and its pixels. Reads no file.
"""

import os
import re
from dataclasses import dataclass

from overlay.action.action import BOX_TYPES, Action, as_box, centre

Point = tuple[float, float]
_CUT = re.compile(r"(.+)#crop=(\d+(?:\.\d+)?)@(-?\d+),(-?\d+)", re.DOTALL)


@dataclass(frozen=True)
class Crop:
    """A window of `share` (above 0, up to 1) of a screen's shorter side, around `point` (x, y in the screen's pixels),
    shifted to stay on the screen."""

    share: float
    point: tuple[int, int]

    def window(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of a screen of `size` (width, height)."""
        side = max(1, round(self.share * min(size)))
        left, top = (
            min(max(0, place - side // 2), whole - side) for place, whole in zip(self.point, size, strict=True)
        )
        return left, top, left + side, top + side


def cropped(path: str, point: Point | None, share: float) -> str:
    """The path of a screen's window around a point; of the whole screen where there is no point, or `share` is 0."""
    if point is None or not share:
        return path
    return f"{path}#crop={share:.6f}@{point[0]:.0f},{point[1]:.0f}"


def taken_apart(path: str | os.PathLike) -> tuple[str | os.PathLike, Crop | None]:
    """(the file's path, the window to cut out of it, or None)."""
    found = _CUT.fullmatch(path) if isinstance(path, str) else None
    if found is None:
        return path, None
    return found[1], Crop(float(found[2]), (int(found[3]), int(found[4])))


def landed(action: Action | None) -> Point | None:
    """Where an action meets the screen, in its own coordinates: the centre of a box, the start of a swipe; None for an
    action without a place."""
    if action is None or action.type not in (*BOX_TYPES, "swipe") or (places := action.coordinates) is None:
        return None
    return (places[0], places[1]) if action.type == "swipe" else centre(as_box(places))
