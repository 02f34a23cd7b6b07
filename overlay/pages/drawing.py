"""Screens as data URIs, and what to draw on them for an action. Shared by the pages."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from overlay.action.action import BOX_TYPES, Action, as_box
from overlay.action.space import Scale, rescale


def screen(path: str, side: int | None = None) -> dict[str, Any]:
    """An image file as {uri, width, height}, size in pixels of the file; no longer than `side` as it is embedded."""
    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        kind, (width, height) = image.format.lower(), image.size
        if side and max(image.size) > side:
            small = image.convert("RGB")
            small.thumbnail((side, side))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=80)
            kind, data = "jpeg", out.getvalue()
    return {"uri": f"data:image/{kind};base64,{base64.b64encode(data).decode()}", "width": width, "height": height}


def shape(action: Action | None, kind: str, scale: Scale = (1.0, 1.0)) -> dict[str, Any] | None:
    """What to draw for an action on its screen, in the image's own pixels: a box, a path, or nothing.

    `scale`: of the space that the action's coordinates are in.
    """
    if action is None or action.coordinates is None or action.type not in (*BOX_TYPES, "swipe"):
        return None
    pixels = rescale(action.coordinates, scale, back=True)
    if action.type == "swipe":
        return {"kind": kind, "path": pixels} if len(pixels) == 4 else None
    x1, y1, x2, y2 = as_box(pixels)
    return {"kind": kind, "box": (x1, y1, max(x2 - x1, 1), max(y2 - y1, 1))}
