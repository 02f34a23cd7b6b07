"""What all sources share: one shape for an episode, and the one place for what our actions cannot say.

- A point without a box: the smallest known element around it, else a box of `POINT` of each side; counted.
- A scroll of the content (`down` shows what is below) is the finger's path the other way; a gesture is a path already.
- Home, enter, double clicks and key presses have no action here: their steps are left out, their screens stay as the
  previous screen of the next step and their description in its history, and the report counts them.
- An episode that is not as its source documents it is left out, named on standard error and counted.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from overlay.action.action import Box, contains
from overlay.data.images import UNREADABLE, identified
from overlay.errors import SourceError

POINT = 0.06  # of each side: the box of a point around which no element is known
LARGEST = 0.25  # of the screen: an element that is larger says nothing about a point in it
SCROLLED = 0.4  # of a side: how far the finger of a scroll moves
SHOWN = 20  # broken episodes named on standard error
BROKEN = (SourceError, KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)


class Said(NamedTuple):
    """A source's action as our type and parameter, or `unsaid`: why it cannot be said; `tap`: where a finger landed,
    in pixels."""

    kind: str = ""
    parameter: str = ""
    unsaid: str = ""
    tap: tuple[float, float] | None = None


@dataclass
class SourceStep:
    """One screen (encoded bytes) and what was done on it. `description`: the source's own words, if any; `elements`:
    annotated boxes in pixels, None where the source knows none; `candidates`: those that the action means, where they
    are not those that hold the tap; `plan`: the one in force, where it changes; `also`: further right actions that the
    source names."""

    screen: bytes
    said: Said
    description: str = ""
    elements: list[Box] | None = None
    plan: list[str] | None = None
    candidates: list[Box] | None = None
    also: list[Said] = field(default_factory=list)


@dataclass
class Episode:
    """Steps in order. `plan`: the source's own; None where the steps' descriptions serve. `group`: the part of a
    benchmark it counts to; `language`: of its words, for steps without any."""

    name: str
    task: str
    app: str = ""
    plan: list[str] | None = None
    steps: list[SourceStep] = field(default_factory=list)
    group: str = ""
    language: str = "en"


@dataclass
class Report:
    """Counts of what was written and what had to be changed or left out, and what was wrong with broken episodes."""

    counts: Counter = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(f"{count:8,}  {what}" for what, count in sorted(self.counts.items()))

    def why(self) -> str:
        """Why nothing could be said, in one line: what was left out, most of it first, and the first fault."""
        left_out = [(count, what) for what, count in self.counts.items() if "left out" in what]
        told = [f"{count:,} {what}" for count, what in sorted(left_out, reverse=True)[:5]]
        return "; ".join([*told, *self.broken[:1]]) or "there is none"


@dataclass
class Reading:
    """How a source is read: what counts, the language of tasks that have several, the episodes that are wanted."""

    report: Report = field(default_factory=Report)
    language: str = "zh"
    names: frozenset[str] | None = None

    def wants(self, name: str) -> bool:
        """Whether an episode is among those asked for; counts it where it is not."""
        if self.names is None or name in self.names:
            return True
        self.report.counts["episodes left out: not in the split"] += 1
        return False

    def attempt(self, where: object, make: Callable[[], Episode | None]) -> Iterator[Episode]:
        """The episode that `make` makes, or nothing: what is not as documented is counted, and named by `where`."""
        try:
            episode = make()
        except BROKEN as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            self.report.counts["episodes left out: not as the source documents it"] += 1
            self.report.broken.append(f"{where}: {what}")
            if len(self.report.broken) <= SHOWN:
                tqdm.write(f"left out: {where}: {what}", file=sys.stderr)
            return
        if episode is not None:
            yield episode

    def lines(self, files: Iterable[Path], make: Callable[[Any, Path], Episode | None]) -> Iterator[Episode]:
        """The episodes that `make` makes of each line's value and its file, of JSON Lines files; see `attempt`."""
        for file in files:
            for number, value in json_lines(file):
                yield from self.attempt(f"{file}:{number}", partial(make, value, file))


def size_of(screen: bytes) -> tuple[int, int]:
    """(width, height) of an encoded image. Raises SourceError."""
    try:
        return identified(screen).size
    except UNREADABLE as error:
        raise SourceError(f"a screenshot is no image: {error}") from error


def around(x: float, y: float, size: tuple[int, int], elements: list[Box]) -> Box | None:
    """The smallest of `elements` that holds the point and is not most of the screen."""
    whole = [box for box in elements if round(box[0]) < round(box[2]) and round(box[1]) < round(box[3])]
    area = {box: (box[2] - box[0]) * (box[3] - box[1]) for box in whole if contains(box, x, y)}
    small = [box for box in area if area[box] <= LARGEST * size[0] * size[1]]
    return min(small, key=area.__getitem__) if small else None


def point(
    x: float, y: float, size: tuple[int, int], elements: list[Box], report: Report, least: float = 0.0
) -> str:  # fmt: skip
    """Gold box `x1,y1,x2,y2` of a click at (x, y), pixels: the smallest of `elements` around it, else a box of its own.

    `least`: of each side that the box has; where elements are lines of text read off the screen, a finger's place is
    larger than they are.
    """
    width, height = size
    box = around(x, y, size, elements)
    if box is None:
        report.counts["points without an element, given a box of their own"] += 1
        box = (x - POINT / 2 * width, y - POINT / 2 * height, x + POINT / 2 * width, y + POINT / 2 * height)
    across, down = max(0, least * width - (box[2] - box[0])) / 2, max(0, least * height - (box[3] - box[1])) / 2
    if across or down:
        report.counts[f"boxes smaller than {least:.0%} of a side, grown to it"] += 1
    box = (box[0] - across, box[1] - down, box[2] + across, box[3] + down)
    return written((max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])))


def tapped(
    x: float, y: float, size: tuple[int, int], elements: list[Box], report: Report, kind: str = "click",
    least: float = 0.0,
) -> Said:  # fmt: skip
    """A click, or a long one, at (x, y) in pixels."""
    if not (0 <= x <= size[0] and 0 <= y <= size[1]):
        return Said(unsaid=f"{kind} outside the screen")
    return Said(kind, point(x, y, size, elements, report, least), tap=(x, y))


def scroll(direction: str, size: tuple[int, int]) -> str:
    """Finger path of a scroll whose content goes on in `direction` (up, down, left, right): the other way."""
    width, height = size
    dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[direction]
    x, y, half = width / 2, height / 2, SCROLLED / 2
    return written((x - dx * half * width, y - dy * half * height, x + dx * half * width, y + dy * half * height))


def swiped(path: tuple[float, float, float, float], size: tuple[int, int]) -> Said:
    """A finger's path x1, y1, x2, y2 in pixels, kept on the screen."""
    x1, y1, x2, y2 = (min(max(value, 0), size[i % 2]) for i, value in enumerate(path))
    if (round(x1), round(y1)) == (round(x2), round(y2)):
        return Said(unsaid="swipe that does not move")
    return Said("swipe", written((x1, y1, x2, y2)))


def typed(text: str) -> Said:
    """Typing of a text."""
    return Said("type", text) if text else Said(unsaid="typing of nothing")


def opened(app: str) -> Said:
    """Opening of an app by name."""
    return Said("open_app", app) if app else Said(unsaid="open_app without a name")


def written(coordinates: tuple[float, ...]) -> str:
    """Coordinates as the source tree has them."""
    return ",".join(str(round(value)) for value in coordinates)


def read_json(file: Path) -> Any:
    """A JSON file's content. Raises SourceError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{file}: {error}") from error


def json_lines(file: Path) -> Iterator[tuple[int, Any]]:
    """(line number, value) of a JSON Lines file. Raises SourceError."""
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise SourceError(f"{file}:{number}: {error}") from error


def screenshot(names: list[str], *folders: Path) -> bytes:
    """The first image there is of `names`, as published paths, in one of `folders` or in a folder of theirs; a path's
    leading parts, which are another machine's, may be missing. Raises SourceError."""
    paths = [[part for part in name.split("/") if part not in ("", ".", "..")] for name in names]
    for places in (folders, [below for folder in folders for below in _folders(folder)]):
        for parts in paths:
            for start in range(len(parts)):
                for place in places:
                    if (found := place.joinpath(*parts[start:])).is_file():
                        return found.read_bytes()
    raise SourceError(f"no screenshot {names[0]} in {' or '.join(map(str, folders))}")


@cache
def _folders(folder: Path) -> list[Path]:
    """Looked for once: a folder may hold many screenshots."""
    return sorted(path for path in folder.iterdir() if path.is_dir())
