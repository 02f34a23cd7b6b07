"""Data files again with a column that a model's answers gave, beside the answers that it is made of."""

import os
from pathlib import Path
from typing import Any

import orjson

from overlay.data.dataset import split_paths
from overlay.errors import SettingError


def written_to(data: str, out: Path) -> dict[Path, Path]:
    """Data file → its copy in `out`. SettingError where two copies, or a file and its copy, would be one."""
    files = [Path(part) for part in split_paths(data)]
    copies = {file: out / file.name for file in files}
    names = [file.name for file in files]
    for file, copy in copies.items():
        if names.count(file.name) > 1:
            raise SettingError(f"--data {data}: two files named {file.name} would be one in {out}: rename one")
        if copy.resolve() == file.resolve():
            raise SettingError(f"--out {out}: {file} lies there and would be written over: choose another")
    return copies


def add_columns(copies: dict[Path, Path], added: dict[str, dict[str, Any]]) -> None:
    """Write each data file's copy, aside and then renamed: a row with its columns of `added`, by its source
    (`file:line`), takes these; other rows stay as they are, byte for byte."""
    for file, copy in copies.items():
        aside = copy.with_name(f"{copy.name}.{os.getpid()}.tmp")
        try:
            with open(file, "rb") as rows, open(aside, "wb") as target:
                for number, line in enumerate(rows, 1):
                    own = added.get(f"{os.path.abspath(file)}:{number}")
                    target.write(line if own is None else orjson.dumps(orjson.loads(line) | own) + b"\n")
            aside.replace(copy)
        finally:
            aside.unlink(missing_ok=True)
