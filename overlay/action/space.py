"""Coordinate spaces: what a model's numbers mean, and the way between them and pixels of the original screenshot.

Gold actions are in `original` pixels. Qwen2.5-VL sees a resized image and by its own training answers in pixels of
that (`resized`); some models count 0 to 1000 over each side (`norm1000`). Gold is taken into the model's space when a
row becomes an example, so rewards and metrics compare there; drawing goes back. x and y have scales of their own.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from overlay.action.action import BOX_TYPES, parse_coordinates
from overlay.action.completion import load_json
from overlay.errors import SettingError

SPACES = ("original", "resized", "norm1000")
# How models count by their own training: their technical reports and cookbooks. Others have to be told.
FAMILY_SPACES = {
    "qwen2_vl": "norm1000", "qwen2_5_vl": "resized", "qwen3_vl": "norm1000", "qwen3_vl_moe": "norm1000",
    "qwen3_5": "norm1000", "qwen3_5_moe": "norm1000", "internvl": "norm1000", "internvl_chat": "norm1000",
    "glm4v": "norm1000",
}  # fmt: skip
LEAST_PIXELS = 3136  # of an image that Qwen-VL's processors make: four tokens of Qwen2.5-VL
CELL = 28  # pixels of a side that become one token: patch size times merge size of Qwen2-VL and Qwen2.5-VL
NOTES = {
    "zh": "坐标一律为 0 到 1000 的整数，按当前截图的宽和高归一化。\n",
    "en": "All coordinates are integers from 0 to 1000, relative to the current screenshot's width and height.\n",
}

Scale = tuple[float, float]


def cell_of(config: dict[str, Any]) -> int:
    """Pixels of a side that become one token, of a model's config.json: 28 in Qwen2.5-VL, 32 in Qwen3-VL."""
    vision = config.get("vision_config") or {}
    patch, merge = vision.get("patch_size"), vision.get("spatial_merge_size")
    if isinstance(patch, int) and isinstance(merge, int):
        return patch * merge
    return 32 if str(config.get("model_type", "")).startswith("qwen3") else CELL


def seen_size(width: int, height: int, min_pixels: int, max_pixels: int, cell: int = CELL) -> tuple[int, int]:
    """(width, height) in pixels of the image that Qwen2.5-VL's processor makes of one of width x height.

    Both are multiples of `cell`, their product lies within the limits, the shape stays as near as it can. Without
    transformers, for clients; the tests compare it with `smart_resize`.
    """
    across, down = round(width / cell) * cell, round(height / cell) * cell
    if across * down > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        across, down = (max(cell, math.floor(side / shrink / cell) * cell) for side in (width, height))
    elif across * down < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        across, down = (math.ceil(side * grow / cell) * cell for side in (width, height))
    return across, down


def shrunk_size(width: int, height: int, limit: int) -> tuple[int, int]:
    """(width, height) of an image of a row with a pixel limit of its own, resized before the processor sees it."""
    across, down = seen_size(width, height, 0, limit)
    return max(CELL, across), max(CELL, down)


@dataclass(frozen=True)
class Space:
    """A coordinate space, with the pixel limits and the cell (pixels of a side) under which the model sees its images.
    SettingError for an unknown name."""

    name: str = "original"
    min_pixels: int = LEAST_PIXELS
    max_pixels: int = 12845056
    cell: int = CELL

    def __post_init__(self) -> None:
        if self.name not in SPACES:
            raise SettingError(f"--coordinate_space {self.name!r} is none of {', '.join(SPACES)}")
        if not 0 < self.min_pixels <= self.max_pixels:
            raise SettingError(f"--min_pixels {self.min_pixels} and --max_pixels {self.max_pixels}: 0 < least <= most")

    def scale(self, width: int, height: int, limit: int = 0) -> Scale:
        """(sx, sy): a coordinate of this space is an original pixel times these, for an image of width x height;
        `limit`: of its pixels, where its row has one of its own."""
        if self.name == "original":
            return 1.0, 1.0
        across, down = (1000, 1000)
        if self.name == "resized":
            handed = shrunk_size(width, height, limit) if limit else (width, height)
            across, down = seen_size(*handed, self.min_pixels, self.max_pixels, self.cell)
        return across / width, down / height

    def tokens(self, width: int, height: int, limit: int = 0) -> int:
        """How many tokens an image of width x height pixels becomes; `limit` as in `scale`."""
        handed = shrunk_size(width, height, limit) if limit else (width, height)
        across, down = seen_size(*handed, self.min_pixels, self.max_pixels, self.cell)
        return across * down // self.cell**2


ORIGINAL = Space()


def rescale(coordinates: tuple[float, ...], scale: Scale, back: bool = False) -> tuple[float, ...]:
    """Coordinates (x, y, ...) times the scale, or `back` to original pixels."""
    return tuple(v / scale[i % 2] if back else v * scale[i % 2] for i, v in enumerate(coordinates))


def rescale_action(text: str, scale: Scale) -> str:
    """An action's JSON with the coordinates of a click, long_click or swipe rescaled, as integers; other text as it
    is."""
    record = load_json(text) if scale != (1.0, 1.0) else None
    if not isinstance(record, dict):
        return text
    kind = record.get("action_type")
    parameters = record.get("action_parameter") if kind in (*BOX_TYPES, "swipe") else None
    coordinates = parse_coordinates(parameters.get(kind)) if isinstance(parameters, dict) else None
    if coordinates is None:
        return text
    whole = ",".join(str(round(value)) for value in rescale(coordinates, scale))
    return json.dumps({**record, "action_parameter": {kind: whole}}, ensure_ascii=False)
