"""docs/refusals.md: wrong inputs of every command, each with its line and status, as `tests/test_refusals.py` has them.

python -m tools.refusals          writes it anew; the test compares, and runs every line
"""

import argparse
from pathlib import Path

from tests.test_refusals import CASES, MAKE, RUN, RUN_SFT, SLOW, status_of

DOCS = Path(__file__).parents[1] / "docs" / "refusals.md"
HEAD = """# What wrong inputs say

Made by `python -m tools.refusals` from the table that `tests/test_refusals.py` runs. Each of these is one line on
standard error, the command's name and what stands here (or begins so), with that exit status; no traceback, nothing
written, no model loaded. `{word}`: a file or folder of that kind (`{none}` is not there, `{new}` may be made); `RUN`: a
complete command line of a small run.

| command | input | says | status |
|---|---|---|---|
"""


def cell(text: str) -> str:
    """Text in a cell of the table, as code."""
    return f"`{text.replace('|', chr(92) + '|').strip()}`"


def table() -> str:
    """The whole of docs/refusals.md."""
    lines = [
        (
            module.removesuffix(".__main__"),
            line.replace(RUN, "RUN ").replace(RUN_SFT, "RUN "),
            said,
            status_of(module, line),
        )
        for module, line, said in (*CASES, *SLOW)
    ]
    lines += [("make", line, said, 2) for line, said in MAKE]
    return HEAD + "".join(
        f"| {cell(command)} | {cell(line)} | {cell(said)} | {status} |\n" for command, line, said, status in lines
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=str(__doc__).splitlines()[0]).parse_args()
    DOCS.write_text(table(), encoding="utf-8")
