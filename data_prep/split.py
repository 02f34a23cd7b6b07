"""Split a data file by task: rows to train on and rows held out, none of whose tasks or screens is in both.

    python -m data_prep.split rows.jsonl --out rows [--share 0.1] [--by task|app] [--seed 0]     (make split)

Writes OUT/train.jsonl, OUT/held_out.jsonl (the rows' own bytes, in their order) and OUT/split.json (how it was made,
with counts). Rows that share a task, its text or an image file stay together. `--by task` draws from every app in
proportion; `--by app` holds whole apps out: how a model does where it has not been. The images stay where they are.
"""

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from data_prep.output import replacing
from overlay.data.rows import RowError, parse_row
from overlay.data.tasks import Tasks
from overlay.errors import Arguments, DataError, SettingError, command
from overlay.prompt.template import step_input

TRAIN, HELD_OUT, ACCOUNT = "train.jsonl", "held_out.jsonl", "split.json"


@dataclass(frozen=True)
class Line:
    """A row of the file: where its bytes begin, its task and that one's text, its app, its images."""

    start: int
    task: str
    asked: str
    app: str
    screens: tuple[str, ...]


def read_lines(data: Path) -> list[Line]:
    """The rows of a file. DataError names the first broken one, or says that there is none."""
    tasks, lines, end = Tasks(str(data), "."), [], 0
    with open(data, "rb") as file:
        for number, text in enumerate(file, 1):
            start, end = end, end + len(text)
            if not text.strip():
                continue
            try:
                row = parse_row(text)
            except RowError as error:
                raise DataError(f"{data}:{number}: {error} (make data-check names all of them)") from error
            fields = step_input(row["problem"])[1]
            asked = str(fields.get("task_content") or "")
            task = tasks.name(row | {"source": f"{data}:{number}"}, asked)
            app = str(fields.get("app_name") or "unknown")
            lines.append(Line(start, task, asked, app, tuple(row["image"])))
    if not lines:
        raise DataError(f"{data}: no rows")
    return lines


def units(lines: list[Line], by: str) -> list[list[int]]:
    """Positions of the rows that must stay together: those of a task (or an app), and those that share an image
    or a task's text."""
    parent = list(range(len(lines)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = n = parent[parent[n]]
        return n

    first: dict[tuple[str, str], int] = {}
    for n, line in enumerate(lines):
        ties = [("task", line.task), *(("image", path) for path in line.screens)]
        ties += [("text", line.asked)] * bool(line.asked) + [("app", line.app)] * (by == "app")
        for tie in ties:
            parent[root(n)] = root(first.setdefault(tie, n))
    found: dict[int, list[int]] = {}
    for n in range(len(lines)):
        found.setdefault(root(n), []).append(n)
    return list(found.values())


def draw(lines: list[Line], by: str, share: float, seed: int) -> set[int]:
    """Positions of the held-out rows: about `share` of the units, at least one, spread over the apps. Raises
    DataError when there is only one."""
    found = units(lines, by)
    if len(found) < 2:
        raise DataError(f"all {len(lines)} rows are one {by}, or share screens: nothing to hold out by {by}")
    chance = random.Random(seed)
    chance.shuffle(found)
    found.sort(key=lambda unit: lines[unit[0]].app)  # stable: shuffled within an app
    wanted = min(len(found) - 1, max(1, round(share * len(found))))
    offset = chance.random()
    places = {math.floor((n + offset) * len(found) / wanted) for n in range(wanted)}
    return {n for place in places for n in found[place]}


def account(lines: list[Line]) -> dict[str, object]:
    """Counts of a part: rows, tasks, rows of each app."""
    apps = Counter(line.app for line in lines)
    return {"rows": len(lines), "tasks": len({line.task for line in lines}), "apps": dict(apps.most_common())}


def split(data: Path, out: Path, by: str = "task", share: float = 0.1, seed: int = 0) -> dict[str, dict]:
    """Write the parts; returns their counts. Raises DataError, also when `out` holds another split: rows that were
    trained on must not become held-out ones unseen."""
    lines = read_lines(data)
    held = draw(lines, by, share, seed)
    parts = {
        TRAIN: [line for n, line in enumerate(lines) if n not in held],
        HELD_OUT: [line for n, line in enumerate(lines) if n in held],
    }
    for name, part in parts.items():
        if (out / name).exists() and not _holds(out / name, data, part):
            raise DataError(f"{out / name} is there already, with other rows: choose another OUT, or remove it")
    counts = {name: account(part) for name, part in parts.items()}
    made = {"data": str(data), "by": by, "share": share, "seed": seed, "parts": counts}
    with ExitStack() as written:  # all or none: each is renamed when all are whole
        for name, part in parts.items():
            written.enter_context(replacing(out / name)).writelines(_texts(data, part))
        file = written.enter_context(replacing(out / ACCOUNT))
        file.write(json.dumps(made, indent=2, ensure_ascii=False).encode() + b"\n")
    return counts


def _texts(data: Path, lines: list[Line]) -> Iterator[bytes]:
    with open(data, "rb") as file:
        for line in lines:
            file.seek(line.start)
            yield file.readline().rstrip(b"\r\n") + b"\n"


def _holds(path: Path, data: Path, lines: list[Line]) -> bool:
    """Whether a file of an earlier split has these rows."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return all(one == other for one, other in zip_longest(file, _texts(data, lines)))


@command("split")
def main(argv: list[str] | None = None) -> int:
    """Split what the command line names, and print the counts."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="JSONL file")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--share", type=float, default=0.1, help="of the tasks to hold out")
    parser.add_argument("--by", choices=("task", "app"), default="task", help="what stays together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if not args.data.is_file():
        raise DataError(f"{args.data}: no such file (DATA=)")
    if not 0 < args.share < 1:
        raise SettingError(f"SHARE={args.share}: a share of the tasks, between 0 and 1")
    for name, part in split(args.data, args.out, args.by, args.share, args.seed).items():
        apps = list(part["apps"].items())
        shown = ", ".join(f"{app} {count:,}" for app, count in apps[:8]) + (", ..." if len(apps) > 8 else "")
        print(f"{args.out / name}: {part['rows']:,} rows, {part['tasks']:,} tasks ({shown})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
