"""A screen with actions drawn on it, as an image. No torch."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from overlay.action.action import Action
from overlay.action.space import Scale
from overlay.data.images import open_image
from overlay.pages.drawing import COLOURS, head, shape


def drawn(
    path: str, action: Action | None, scale: Scale = (1.0, 1.0), golds: Sequence[Action | None] = ()
) -> Image.Image:
    """The image at `path` with the box, point or finger path of `action`, whose coordinates have `scale`, and of the
    right actions in original pixels, the gold one first. An action without a place is written at the top. Raises
    DataError."""
    canvas = open_image(path)
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(max(canvas.size) / 300))
    right = [("also" if n else "gold", each, (1.0, 1.0)) for n, each in enumerate(golds)]
    for kind, each, own in (*reversed(right), ("answer", action, scale)):
        what = shape(each, kind, own)
        if what is None:
            if each is not None and kind == "answer":
                pen.text((4, 4), f"{each.type} {each.text}", fill=COLOURS[kind])
        elif "path" in what:
            x1, y1, x2, y2 = what["path"]
            one, other = head(what["path"])
            pen.line((x1, y1, x2, y2), fill=COLOURS[kind], width=width)
            pen.line((*one, x2, y2, *other), fill=COLOURS[kind], width=width)
        else:
            x, y, across, down = what["box"]
            look = {"outline": COLOURS[kind], "width": width}
            if across <= 1 and down <= 1:  # a point
                pen.ellipse((x - 4 * width, y - 4 * width, x + 4 * width, y + 4 * width), **look)
            else:
                pen.rectangle((x, y, x + across, y + down), **look)
    return canvas
