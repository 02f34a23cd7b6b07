"""What an image file is: its size from the header, or, on request, that every pixel decodes."""

import os

from PIL import Image, UnidentifiedImageError


def image_size(path: str | os.PathLike, decode: bool) -> tuple[tuple[int, int] | None, str]:
    """((width, height) in pixels, "") or (None, what is wrong). Reads the header only, all pixels with `decode`."""
    try:
        with Image.open(path) as image:
            if decode:
                image.load()
            return image.size, ""
    except FileNotFoundError:
        return None, "image not found"
    except UnidentifiedImageError:
        return None, "not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return None, f"image does not decode: {error}"
