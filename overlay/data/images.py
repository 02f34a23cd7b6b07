"""The one reader of images: size, pixels, whether a file is sound, and its own bytes. No torch, no datasets.

What holds for every image is decided here, once, for training, checks, pages and what a server is sent: it is turned as
its EXIF orientation says (annotators saw it so), what is transparent shows white, and 16 bits of grey become 8 by their
high byte. An image that cannot be read is a DataError that says what is wrong with it and names the file, and the row
(`source`, file:line) where there is one.
"""

import base64
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from overlay.action.space import Scale, shrunk_size
from overlay.errors import DataError
from overlay.prompt.crop import taken_apart
from overlay.prompt.style import PromptStyle

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for a bad file
LONGEST = 200  # times the shorter side, of an image that a processor takes
_Turn = Image.Transpose
TURNS = {  # by EXIF orientation
    2: _Turn.FLIP_LEFT_RIGHT, 3: _Turn.ROTATE_180, 4: _Turn.FLIP_TOP_BOTTOM, 5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270, 7: _Turn.TRANSVERSE, 8: _Turn.ROTATE_90,
}  # fmt: skip
SIDEWAYS = {TURNS[orientation] for orientation in (5, 6, 7, 8)}


class WrongShape(ValueError):
    """An image that decodes and that a model's processor refuses, or a path that is no file's."""


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How an image that is not loaded yet has to be turned. From the header: a PNG's late eXIf is not looked for, which
    would decode it, and Pillow turns a TIFF itself."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return None
    return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def upright(image: Image.Image) -> tuple[int, int]:
    """(width, height) in pixels of an opened image once it is turned, from its header."""
    width, height = image.size
    return (height, width) if _turn(image) in SIDEWAYS else (width, height)


def _is_plain(image: Image.Image) -> bool:
    """Whether every program makes the same pixels of it as `rgb`."""
    if _turn(image) is not None:
        return False
    if image.mode in ("RGBA", "LA"):
        return image.getchannel("A").getextrema() == (255, 255)  # a phone's screenshots are
    return image.mode in ("RGB", "L", "P") and not image.has_transparency_data


def rgb(image: Image.Image) -> Image.Image:
    """The opened image as models and people get it: upright, on white, 8 bits a channel."""
    turn = _turn(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow's own way to RGB cuts all above 255
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def wrong_with(error: Exception) -> str:
    """What is wrong with an image that gave one of `UNREADABLE`, in words."""
    if isinstance(error, FileNotFoundError):
        return "image not found"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, WrongShape):
        return str(error)
    return f"image does not decode: {error}"


def _regular(path: str | os.PathLike) -> str | os.PathLike:
    """The path of a regular file, links followed: opening a pipe would wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise WrongShape("not a file")
    return path


@contextmanager
def _named(path: str | os.PathLike, source: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise DataError(f"{source}: {wrong_with(error)}: {path}".removeprefix(": ")) from error


def fitting(size: tuple[int, int]) -> tuple[int, int]:
    """The size, when Qwen-VL's processors take an image of it; they raise in the middle of a run otherwise."""
    if max(size) > LONGEST * min(size):
        raise WrongShape(f"image of {size[0]}x{size[1]} is over {LONGEST} times as long as wide: no processor takes it")
    return size


@lru_cache(maxsize=65536)
def _header_size(path: str, _written: int) -> tuple[int, int]:
    with Image.open(_regular(path)) as image:
        return fitting(upright(image))


def size_of(path: str, source: str = "") -> tuple[int, int]:
    """(width, height) in pixels of an image, or of the window of it that its path names (`overlay.prompt.crop`), from
    its header, read once while the file stays as it is. Raises DataError."""
    file, crop = taken_apart(path)
    with _named(path, source):
        size = _header_size(str(file), os.stat(file).st_mtime_ns)
    if crop is None:
        return size
    left, top, right, bottom = crop.window(size)
    return right - left, bottom - top


def scale_of(style: PromptStyle, paths: list[str], source: str, max_pixels: int = 0) -> Scale:
    """Scale of the current screen, the last image of a row, in the style's space; `max_pixels` where the row has a
    limit of its own. A header is read only for a space that depends on it. Raises DataError."""
    if style.space.name == "original" or not paths:
        return 1.0, 1.0
    return style.scale(size_of(paths[-1], source), max_pixels)


def open_image(path: str | os.PathLike, source: str = "", max_pixels: int = 0) -> Image.Image:
    """RGB image of a file, or of the window of it that its path names, resized as the processor would under
    `max_pixels` where its row has a limit of its own.
    Raises DataError."""
    file, crop = taken_apart(path)
    with _named(path, source):
        with Image.open(_regular(file)) as image:
            whole = rgb(image)
        if crop is not None:
            whole = whole.crop(crop.window(whole.size))
        if not max_pixels:
            return whole
        return whole.resize(shrunk_size(*whole.size, max_pixels), Image.Resampling.BICUBIC)


def open_once(opened: dict, paths: list[str], source: str, max_pixels: int = 0) -> list[Image.Image]:
    """A row's images; those that `opened` (path and limit → image) holds are not opened again. A batch holds each
    prompt once for every generation."""
    for path in paths:
        if (path, max_pixels) not in opened:
            opened[path, max_pixels] = open_image(path, source, max_pixels)
    return [opened[path, max_pixels] for path in paths]


def open_images(rows: list[dict[str, Any]], key: str = "image") -> None:
    """Give each row its images (list of PIL images, RGB) under `key`; rows with the same path share one object.

    DataError names the row of a missing or broken image.
    """
    opened: dict = {}
    for row in rows:
        row[key] = open_once(opened, row.get("image_path") or [], row["source"], row.get("max_pixels") or 0)


def check_image(path: str | os.PathLike, decode: bool) -> tuple[tuple[int, int] | None, str]:
    """((width, height) in pixels, "") or (None, what is wrong). Reads the header only, all pixels with `decode`."""
    try:
        with Image.open(_regular(path)) as image:
            size = fitting(upright(image))
            if decode:
                image.load()
            return size, ""
    except UNREADABLE as error:
        return None, wrong_with(error)


@dataclass(frozen=True)
class Encoded:
    """An image as a file holds it: bytes, kind (`png`, `jpeg`, ...) and (width, height) in pixels, upright."""

    data: bytes
    kind: str
    size: tuple[int, int]

    @property
    def url(self) -> str:
        """As a data URL."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def identified(data: bytes) -> Encoded:
    """The image that `data` holds, as it is. Raises UNREADABLE."""
    with Image.open(BytesIO(data)) as image:
        return Encoded(data, (image.format or "").lower(), upright(image))


def read_png_or_jpeg(path: str | os.PathLike, source: str = "") -> Encoded:
    """An image file, or the window of it that its path names, as every program reads it alike. Raises DataError."""
    if taken_apart(path)[1] is not None:
        return encode(open_image(path, source), "png")
    with _named(path, source):
        return png_or_jpeg(identified(Path(_regular(path)).read_bytes()))


def png_or_jpeg(image: Encoded) -> Encoded:
    """A PNG or JPEG of which every program makes the pixels of `rgb` as it is, others as a PNG of these. Raises
    UNREADABLE."""
    with Image.open(BytesIO(image.data)) as opened:
        if image.kind in ("png", "jpeg") and _is_plain(opened):
            return image
        return encode(rgb(opened), "png")


def decoded(data: bytes) -> Image.Image:
    """RGB image of encoded bytes. Raises UNREADABLE."""
    with Image.open(BytesIO(data)) as image:
        return rgb(image)


def encode(image: Image.Image, kind: str, **options: Any) -> Encoded:
    """The image as `kind`; `options` are Pillow's for saving."""
    out = BytesIO()
    image.save(out, kind, **options)
    return Encoded(out.getvalue(), kind, image.size)
