"""The one reader of images: what it gives, what it reads, and what it says of a file that is none."""

import base64
import os
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageOps

from overlay.action.space import Space, seen_size
from overlay.data import images
from overlay.errors import DataError
from overlay.prompt.style import PromptStyle


@pytest.fixture
def folder(tmp_path):
    """A good image, one cut short, text in an image's place; `gone.png` is not there."""
    Image.effect_noise((60, 80), 50).convert("RGBA").save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


def test_images_are_rgb_within_the_rows_limit(folder):
    whole = images.open_image(folder / "good.png")
    assert (whole.mode, whole.size) == ("RGB", (60, 80))
    small = images.open_image(folder / "good.png", max_pixels=56 * 56)
    assert small.size == seen_size(60, 80, 0, 56 * 56) == (28, 56)
    opened = {}
    first = images.open_once(opened, [str(folder / "good.png")], "rows.jsonl:1")
    assert images.open_once(opened, [str(folder / "good.png")], "rows.jsonl:2")[0] is first[0]


BAD = {
    "gone.png": "image not found",
    "text.png": "not an image",
    "cut.png": "image does not decode: ",
}


@pytest.mark.parametrize("name", BAD)
def test_row_file_and_fault_are_named(name, folder):
    path = str(folder / name)
    with pytest.raises(DataError, match=rf"^rows\.jsonl:3: {BAD[name]}.*{path}$"):
        images.open_image(path, "rows.jsonl:3")
    with pytest.raises(DataError, match=rf"^{BAD[name]}.*{path}$"):  # outside a data file
        images.open_image(path)
    size, problem = images.check_image(path, decode=True)
    assert size is None
    assert problem.startswith(BAD[name])


def test_a_header_says_the_size_and_no_more(folder):
    cut = str(folder / "cut.png")
    assert images.size_of(cut) == (60, 80)
    assert images.check_image(cut, decode=False) == ((60, 80), "")
    with pytest.raises(DataError, match=r"^rows\.jsonl:3: image not found: .*gone\.png$"):
        images.size_of(str(folder / "gone.png"), "rows.jsonl:3")


def test_a_file_too_large_for_pillow_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 60 x 80 is over twice that: a DecompressionBombError
    with pytest.raises(DataError, match=r"^rows\.jsonl:3: image does not decode: .* decompression bomb .*good\.png$"):
        images.open_image(str(folder / "good.png"), "rows.jsonl:3")


def test_the_scale_is_the_current_screens(folder):
    good = str(folder / "good.png")
    style = PromptStyle(space=Space("norm1000"))
    assert images.scale_of(style, [str(folder / "gone.png"), good], "rows.jsonl:3") == (1000 / 60, 1000 / 80)
    assert images.scale_of(style, [], "rows.jsonl:3") == (1.0, 1.0)
    resized = PromptStyle(space=Space("resized", 784, 10_000))
    assert images.scale_of(resized, [good], "rows.jsonl:3", max_pixels=56 * 56) == (28 / 60, 56 / 80)
    with pytest.raises(DataError, match=r"rows\.jsonl:3: image .*gone\.png"):
        images.scale_of(resized, [str(folder / "gone.png")], "rows.jsonl:3")
    # Original pixels need no size, so no file is opened.
    assert images.scale_of(PromptStyle(), [str(folder / "gone.png")], "rows.jsonl:3") == (1.0, 1.0)


def test_bytes_stay_what_they_are(folder):
    kept = images.read_png_or_jpeg(folder / "good.png")
    assert (kept.data, kept.kind, kept.size) == ((folder / "good.png").read_bytes(), "png", (60, 80))
    assert kept.url.startswith("data:image/png;base64,")
    Image.new("RGBA", (20, 30)).save(folder / "other.webp")
    other = images.read_png_or_jpeg(folder / "other.webp")
    assert (other.kind, images.decoded(other.data).size) == ("png", (20, 30))
    (folder / "cut.webp").write_bytes((folder / "other.webp").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"cut\.webp$"):
        images.read_png_or_jpeg(folder / "cut.webp")


def test_a_shape_that_no_processor_takes_is_named_before_training(tmp_path):
    Image.new("RGB", (4000, 10)).save(tmp_path / "strip.png")
    with pytest.raises(DataError, match=r"rows\.jsonl:7: image of 4000x10 is over 200 times as long as wide"):
        images.size_of(str(tmp_path / "strip.png"), "rows.jsonl:7")
    assert images.check_image(tmp_path / "strip.png", decode=True)[1].startswith("image of 4000x10")
    Image.new("RGB", (2000, 10)).save(tmp_path / "line.png")
    assert images.size_of(str(tmp_path / "line.png")) == (2000, 10)


def left_right(size=(60, 40)):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    return image


def awkward(folder):
    """Images of which programs make different pixels: (file, size as people see it, a point, its colour)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a camera held upright: red is at the top
    left_right().save(folder / "turned.jpg", exif=exif, quality=95)
    left_right().save(folder / "turned.png", exif=exif)
    left_right().save(folder / "turned.webp", exif=exif, lossless=True)
    clear = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (30, 0, 60, 40))
    clear.save(folder / "clear.png")
    clear.convert("LA").save(folder / "clear_grey.png")
    Image.new("P", (60, 40), 0).save(folder / "clear_palette.png", transparency=0)
    half = Image.new("RGBA", (60, 40), (255, 0, 0, 128))
    half.save(folder / "half.png")
    deep = Image.new("I;16", (60, 40))
    deep.putdata([0x40FF] * 2400)
    deep.save(folder / "deep.png")
    deep.save(folder / "deep.tiff")
    left_right().convert("CMYK").save(folder / "print.jpg", quality=95)
    return [
        ("turned.jpg", (40, 60), (20, 10), (255, 0, 0)), ("turned.png", (40, 60), (20, 10), (255, 0, 0)),
        ("turned.webp", (40, 60), (20, 50), (0, 0, 255)), ("clear.png", (60, 40), (10, 10), (255, 255, 255)),
        ("clear_grey.png", (60, 40), (10, 10), (255, 255, 255)),
        ("clear_palette.png", (60, 40), (10, 10), (255, 255, 255)), ("half.png", (60, 40), (10, 10), (255, 127, 127)),
        ("deep.png", (60, 40), (10, 10), (0x40, 0x40, 0x40)), ("deep.tiff", (60, 40), (10, 10), (0x40, 0x40, 0x40)),
        ("print.jpg", (60, 40), (10, 10), (255, 0, 0)),
    ]  # fmt: skip


def test_one_rule_for_orientation_transparency_and_depth(tmp_path):
    """Every way in gives people's pixels, and a server that knows none of the rule gets them too."""
    for name, size, at, colour in awkward(tmp_path):
        path = str(tmp_path / name)
        image = images.open_image(path)
        assert (name, image.size, image.mode) == (name, size, "RGB")
        assert max(abs(a - b) for a, b in zip(image.getpixel(at), colour, strict=True)) <= 8, name
        assert images.size_of(path) == images.check_image(path, decode=True)[0] == size
        sent = images.read_png_or_jpeg(path)
        assert (sent.kind in ("png", "jpeg"), sent.size) == (True, size)
        with Image.open(BytesIO(base64.b64decode(sent.url.split(",")[1]))) as served:
            assert not served.getexif().get(ExifTags.Base.Orientation)
            assert served.convert("RGB").tobytes() == image.tobytes(), name
            assert images.rgb(served).tobytes() == image.tobytes(), name


def test_all_eight_orientations(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.effect_noise((20, 30), 90).convert("RGB").save(path, exif=exif)
        with Image.open(path) as image:
            wanted = ImageOps.exif_transpose(image).tobytes()
        assert images.open_image(path).tobytes() == wanted
        assert images.size_of(str(path)) == images.open_image(path).size


def test_a_size_is_read_anew_when_the_file_changes(tmp_path):
    path = tmp_path / "a.png"
    for number, size in enumerate(((20, 30), (40, 30))):
        Image.new("RGB", size).save(path)
        os.utime(path, ns=(number, number))
        assert images.size_of(str(path)) == size
