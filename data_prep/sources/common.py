"""What all sources share: one shape for an episode, and the one place for what our actions cannot say.

- A point without a box: the smallest known element around it, else a box of `POINT` of each side; counted.
- A scroll of the content (`down` shows what is below) is the finger's path the other way; a gesture is a path already.
- Home, enter, double clicks and key presses have no action here: their steps are left out, their screens stay as the
  previous screen of the next step and their description in its history, and the report counts them.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overlay.action.action import ACTION_NAMES
from overlay.data.images import UNREADABLE, identified, png_or_jpeg
from overlay.errors import SourceError

POINT = 0.06  # of each side: the box of a point around which no element is known
SCROLLED = 0.4  # of a side: how far the finger of a scroll moves

Box = tuple[float, float, float, float]


@dataclass
class SourceStep:
    """One screen (encoded bytes) and what was done on it: our type and parameter, or why that cannot be said."""

    screen: bytes
    kind: str = ""
    parameter: str = ""
    description: str = ""
    unsaid: str = ""


@dataclass
class Episode:
    """Steps in order. `plan`: the source's own step instructions; without them the descriptions serve."""

    name: str
    task: str
    app: str = ""
    plan: list[str] = field(default_factory=list)
    steps: list[SourceStep] = field(default_factory=list)


@dataclass
class Report:
    """Counts of what was written and what had to be changed or left out."""

    counts: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        return "\n".join(f"{count:8,}  {what}" for what, count in sorted(self.counts.items()))


def size_of(screen: bytes) -> tuple[int, int]:
    """(width, height) of an encoded image. Raises SourceError."""
    try:
        return identified(screen).size
    except UNREADABLE as error:
        raise SourceError(f"a screenshot is no image: {error}") from error


def point(x: float, y: float, size: tuple[int, int], elements: list[Box], report: Report) -> str:
    """Gold box `x1,y1,x2,y2` of a click at (x, y), pixels: the smallest of `elements` around it, else a box of its
    own."""
    width, height = size
    around = [box for box in elements if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
    around = [box for box in around if (box[2] - box[0]) * (box[3] - box[1]) <= 0.25 * width * height]
    if around:
        box = min(around, key=lambda each: (each[2] - each[0]) * (each[3] - each[1]))
    else:
        report.counts["points without an element, given a box of their own"] += 1
        box = (x - POINT / 2 * width, y - POINT / 2 * height, x + POINT / 2 * width, y + POINT / 2 * height)
    return written((max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])))


def scroll(direction: str, size: tuple[int, int]) -> str:
    """Finger path of a scroll whose content goes on in `direction` (up, down, left, right): the other way."""
    width, height = size
    dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[direction]
    x, y, half = width / 2, height / 2, SCROLLED / 2
    return written((x - dx * half * width, y - dy * half * height, x + dx * half * width, y + dy * half * height))


def written(coordinates: tuple[float, ...]) -> str:
    """Coordinates as the source tree has them."""
    return ",".join(str(round(value)) for value in coordinates)


def write(episode: Episode, folder: Path, report: Report) -> None:
    """Write one episode as a task folder. Steps that cannot be said are left out; an episode without any is too."""
    kept = [step for step in episode.steps if not step.unsaid]
    report.counts.update(f"steps left out: {step.unsaid}" for step in episode.steps if step.unsaid)
    if not kept:
        report.counts["episodes left out: no step can be said"] += 1
        return
    folder.mkdir(parents=True)
    names = []
    for number, step in enumerate(episode.steps, 1):
        image = png_or_jpeg(identified(step.screen))
        names.append(f"{folder.name}_{number}.{'jpg' if image.kind == 'jpeg' else 'png'}")
        (folder / names[-1]).write_bytes(image.data)
    plan = episode.plan or [step.description for step in kept]
    for number, step in enumerate(episode.steps, 1):
        if step.unsaid:
            continue
        record = {
            "input": {
                "task_content": episode.task,
                "task_path": {str(i): text for i, text in enumerate(plan, 1)},
                "screen_path1": names[number - 2] if number > 1 else "",
                "screen_path2": names[number - 1],
                "history_path_all": [each.description for each in episode.steps[: number - 1]],
                "app_name": episode.app,
                "action_type_list": ACTION_NAMES,
            },
            "output": {
                "action_type": step.kind,
                "action_parameter": {step.kind: step.parameter},
                "action_description": step.description,
            },
        }
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (folder / f"step_{number}.json").write_text(text + "\n", encoding="utf-8")
        report.counts["steps"] += 1
    report.counts["episodes"] += 1


def read_json(file: Path) -> Any:
    """A JSON file's content. Raises SourceError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: {error}") from error


def records(file: Path) -> Iterator[dict[str, list]]:
    """Features (name → values) of each tf.train.Example of a GZIP TFRecord file. Raises SourceError."""
    from tfrecord import example_pb2
    from tfrecord.reader import tfrecord_iterator

    example = example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue] protobuf makes it at import
    try:
        for data in tfrecord_iterator(str(file), compression_type="gzip"):
            features = example.FromString(bytes(data)).features.feature
            yield {name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in features.items()}
    except (OSError, EOFError, RuntimeError, TypeError) as error:
        raise SourceError(f"{file}: no GZIP TFRecord: {error}") from error
