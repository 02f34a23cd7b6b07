"""Files in published formats, made here: GZIP TFRecords, protocol buffers on the wire, JSON, screens."""

import gzip
import json
import struct
from io import BytesIO

from PIL import Image
from tfrecord import example_pb2

SIZE = (200, 400)


def png(size=SIZE, shade=200):
    out = BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(out, "PNG")
    return out.getvalue()


def put(path, content):
    """A file with its folders: bytes as they are, other content as JSON, a list of lines as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in content).encode()
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return path


def write_records(file, *examples):
    """A GZIP TFRecord file: length, its CRC, data, its CRC (the reader looks at no CRC)."""
    with gzip.open(file, "wb") as out:
        for features in examples:
            example = example_pb2.Example()
            for name, values in features.items():
                feature = example.features.feature[name]
                kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
                getattr(feature, kind).value.extend(values)
            data = example.SerializeToString()
            out.write(struct.pack("<Q", len(data)) + b"\0" * 4 + data + b"\0" * 4)


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field of a protocol buffer: an int or a bool as a varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(int(value))
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(box, *, visible=True, clickable=False, **more):
    """An AndroidAccessibilityNodeInfo; `more`: further fields by `f<number>`."""
    rect = b"".join(field(number, side) for number, side in enumerate(box, 1) if side)
    others = b"".join(field(int(name[1:]), value) for name, value in more.items())
    named = field(1, 7) + field(2, rect) + field(3, b"android.widget.TextView") + others
    return named + field(14, clickable) + field(23, visible) + field(25, varint(8) + varint(9))


def forest(*windows):
    """An AndroidAccessibilityForest of windows (layer, nodes)."""
    return b"".join(
        field(1, field(3, 5) + field(4, layer) + field(6, 1) + field(11, b"".join(field(1, n) for n in nodes)))
        for layer, nodes in windows
    )
