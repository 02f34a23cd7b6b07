"""Data files that want to break their reader: each is refused in one line of bounded length, and none hangs."""

import json
import os
import struct
import zlib

import pytest
from PIL import Image

from data_prep import check, convert
from overlay.data.dataset import load_dataset
from overlay.data.images import check_image, open_image, read_png_or_jpeg, size_of
from overlay.errors import LONGEST, DataError
from overlay.prompt.template import step_input
from tests.conftest import step_record, write_step

DEEP = 100_000


def png(path, width, height, *chunks):
    """A PNG that says it is so large, with these (name, data) chunks."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in (header, *chunks, (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def bomb(path):
    png(path, 60_000, 60_000, (b"IDAT", zlib.compress(bytes(10_000_000), 9)))


def text_bomb(path):
    packed = zlib.compress(bytes(100_000_000), 9)
    pixels = zlib.compress(b"".join(b"\0" + bytes(3 * 8) for _ in range(8)))
    png(path, 8, 8, (b"zTXt", b"comment\0\0" + packed), (b"IDAT", pixels))


IMAGES = {"pixels": bomb, "text": text_bomb, "pipe": os.mkfifo, "folder": os.mkdir}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", IMAGES)
def test_images(kind, tmp_path):
    path = tmp_path / "x.png"
    IMAGES[kind](path)
    for read in (open_image, size_of, read_png_or_jpeg):
        with pytest.raises(DataError, match=r"rows\.jsonl:7: .*x\.png"):
            read(str(path), "rows.jsonl:7")
    assert check_image(path, decode=True)[0] is None


def row(**changed):
    return {
        "image": [], "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}],
    } | changed  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "[" * DEEP,
        '{"image": ' + "[" * DEEP,
        json.dumps(row(**{"k" * 1_000_000: 1, "conversations": []})),
        json.dumps(row(accu_reward_method="m" * 1_000_000)),
        json.dumps(row(image=["i" * 1_000_000])),
    ],
)
def test_rows(line, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(line + "\n")
    check.main([str(rows), "--images", str(tmp_path)])
    assert max(map(len, capsys.readouterr().err.splitlines())) < 2 * LONGEST
    if "image" in line and "i" * 100 in line:
        return  # a path that is too long is met by whoever opens it
    with pytest.raises(DataError, match=r"rows\.jsonl:1: "):
        load_dataset(str(rows), str(tmp_path), None, tmp_path / "arrow", ["default"])


@pytest.mark.parametrize("text", ["[" * DEEP, json.dumps({"k" * 1_000_000: {}}), '{"input": ' + "[" * DEEP])
def test_step_files(text, tmp_path, capsys):
    write_step(tmp_path / "tasks" / "1", 1, text)
    assert convert.main([str(tmp_path / "tasks"), "--out", str(tmp_path / "rows.jsonl")]) == 2
    assert all(len(line) < 2 * LONGEST for line in capsys.readouterr().err.splitlines())
    assert not (tmp_path / "rows.jsonl").exists()


def test_a_question_that_nests():
    question = "?" + '{"a": ' * DEEP
    assert step_input(question) == (question, {})


def test_a_link_leads_where_the_user_may_read(tmp_path):
    """Links in a data folder, and paths out of it, are followed: whoever made the data chose them, and only images are
    read (docs/security.md)."""
    Image.new("RGB", (112, 168)).save(tmp_path / "elsewhere.png")
    secret = tmp_path / "secret.txt"
    secret.write_text("not an image")
    (tmp_path / "tasks" / "1").mkdir(parents=True)
    for name, target in (("1_1.png", "elsewhere.png"), ("1_2.png", "secret.txt")):
        (tmp_path / "tasks" / "1" / name).symlink_to(tmp_path / target)
    assert open_image(tmp_path / "tasks" / "1" / "1_1.png").size == (112, 168)
    write_step(tmp_path / "tasks" / "1", 1, step_record(second="1_2.png"))
    assert convert.main([str(tmp_path / "tasks"), "--out", str(tmp_path / "rows.jsonl")]) == 2
