"""TFRecord files of published datasets, without TensorFlow. The package tfrecord has the message; its own reader would
decompress a file twice, and none of one that breaks off."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from data_prep.sources.common import Report
from overlay.errors import SourceError

LONGEST = 1 << 31  # bytes


def records(file: Path, report: Report) -> Iterator[dict[str, list]]:
    """Features (name → values) of each tf.train.Example of a GZIP TFRecord file. Raises SourceError when it is none;
    one that breaks off later is counted."""
    from google.protobuf.message import DecodeError
    from tfrecord import example_pb2

    example = example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue] protobuf makes it at import
    read = 0
    try:
        for data in _framed(file):
            features = example.FromString(data).features.feature
            named = {name: getattr(value, value.WhichOneof("kind") or "bytes_list") for name, value in features.items()}
            yield {name: list(values.value) for name, values in named.items()}
            read += 1
    except (OSError, EOFError, zlib.error, DecodeError) as error:
        if not read:
            raise SourceError(f"{file}: no GZIP TFRecord: {error}") from error
        report.counts["files that break off: the rest of their episodes left out"] += 1
        report.broken.append(f"{file}: breaks off after {read} records: {error}")


def _framed(file: Path) -> Iterator[bytes]:
    """The records of a file: each stands between its length with a CRC, and a CRC of its own. gzip has one of all."""
    with gzip.open(file) as data:
        while head := data.read(12):
            (length,) = struct.unpack("<Q", head.ljust(12, b"\0")[:8])
            if length > LONGEST:
                raise OSError(f"{length} is no length of a record")
            record = data.read(length + 4)
            if len(record) < length + 4:
                raise EOFError("a record is cut short")
            yield record[:-4]
