"""Validate any data file and say what is in it.

    python -m data_prep.check rows.jsonl --images TASKS [--processor MODEL]     (make data-check)

Prints counts: rows, images per row, image sizes, action types, right answers of a row, annotated elements, groups,
plans, apps and, with a processor, prompt lengths in tokens. Every broken row is named with its line; the exit status is
then 1.
"""

import json
import os
import sys
from argparse import Namespace
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from tqdm import tqdm

from data_prep.steps import check_also, check_output
from overlay.action.completion import TAGS, load_json
from overlay.action.space import LEAST_PIXELS
from overlay.checks import at_least, only_with
from overlay.data.images import check_image
from overlay.data.parallel import ordered_map
from overlay.data.rows import KEYS, RowError, parse_row
from overlay.errors import Arguments, DataError, command, shortened
from overlay.prompt.template import step_input
from overlay.rewards.accuracy import METHODS
from overlay.settings import MOST_EARLIER, check_crop

SHOWN = 20
BUDGETS = (1024, 2048, 4096, 8192, 16384)
CHUNK = 64
ASKED = ("answer_format", "history_screens", "history_crop")  # flags of a prompt's style
COORDINATES = ("click", "long_click", "swipe")


@dataclass
class Tally:
    """Counts over rows, and (line, reason) of each problem."""

    rows: int = 0
    earlier: Counter = field(default_factory=Counter)
    images: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    types: Counter = field(default_factory=Counter)
    also: Counter = field(default_factory=Counter)
    elements: Counter = field(default_factory=Counter)
    groups: Counter = field(default_factory=Counter)
    plans: Counter = field(default_factory=Counter)
    unread: Counter = field(default_factory=Counter)
    apps: Counter = field(default_factory=Counter)
    lacking: list[int] = field(default_factory=list)  # lines whose history goes beyond their screens, without earlier
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.rows += other.rows
        for name in ("earlier", "images", "sizes", "types", "also", "elements", "groups", "plans", "unread", "apps"):
            getattr(self, name).update(getattr(other, name))
        self.lacking.extend(other.lacking)
        self.problems.extend(other.problems)


def check_chunk(lines: list[tuple[int, bytes]], images: Path, decode: bool) -> Tally:
    """Check some (line number, line) pairs."""
    tally = Tally()
    for number, line in lines:
        if not line.strip():
            continue
        tally.rows += 1
        try:
            row = parse_row(line)
        except RowError as error:
            tally.problems.append((number, str(error)))
            continue
        tally.unread.update(orjson.loads(line).keys() - set(KEYS))
        tally.images[len(row["image"])] += 1
        tally.earlier[len(row["earlier"])] += 1
        if not row["earlier"] and steps_before(row["problem"]) >= max(1, len(row["image"])):
            tally.lacking.append(number)
        for path, *_ in row["earlier"]:
            if problem := check_image(images / path, decode=False)[1]:  # its own row decodes it
                tally.problems.append((number, f"{path}: {problem}"))
        size = None
        for path in row["image"]:
            size, problem = check_image(images / path, decode)
            if size is None:
                tally.problems.append((number, f"{path}: {problem}"))
            else:
                tally.sizes[f"{size[0]}x{size[1]}"] += 1
        if row["accu_reward_method"] not in METHODS:
            known = ", ".join(METHODS)
            tally.problems.append((number, f"unknown reward method {row['accu_reward_method']!r} (known: {known})"))
        action = load_json(row["solution"])
        if isinstance(action, dict) and "action_type" in action:
            tally.types[str(action["action_type"])] += 1
            problems = [*check_output(action, size), *check_also(row["also"], size)]
            tally.problems.extend((number, reason) for reason in problems)
        else:
            tally.types["(not an action)"] += 1
            if '"action_type"' in row["solution"]:
                tally.problems.append((number, "the answer names an action_type and is no JSON (as NaN is none)"))
        tally.also[1 + len(row["also"])] += 1
        tally.elements[_annotated(row["elements"])] += 1
        tally.groups[row["group"] or "(none)"] += 1
        tally.plans["plan and history line up" if row["aligned"] else "they do not, as the row says"] += 1
        tally.apps[_app(row["problem"])] += 1
    return tally


def _annotated(elements: list | None) -> str:
    return "not annotated" if elements is None else "annotated" if elements else "annotated, none on the screen"


def steps_before(problem: str) -> int:
    """Steps in the history of a GUI prompt's input."""
    history = step_input(problem)[1].get("history_path_all")
    return len(history) if isinstance(history, list) else 0


def _app(problem: str) -> str:
    """app_name of the step input that ends a GUI prompt, if there is one."""
    line = problem[problem.rfind("\n") + 1 :]
    fields = load_json(line[line.find("{") :])
    return str(fields.get("app_name")) if isinstance(fields, dict) else "(none)"


def chunks(file: Path, progress: tqdm) -> Iterator[list[tuple[int, bytes]]]:
    """(line number, line) of a file's lines, some at once."""
    with open(file, "rb") as data:
        numbered = enumerate(data, 1)
        while chunk := list(islice(numbered, CHUNK)):
            progress.update(sum(len(line) for _, line in chunk))
            yield chunk


def check(file: Path, images: Path, workers: int = 1, decode: bool = True) -> Tally:
    """Check every row of `file`; image paths are below `images`."""
    total = Tally()
    with tqdm(total=file.stat().st_size, unit="B", unit_scale=True, desc=file.name) as progress:
        work = partial(check_chunk, images=images, decode=decode)
        for part in ordered_map(work, chunks(file, progress), workers):
            total.add(part)
    return total


def token_lengths(file: Path, images: Path, processor: str, max_pixels: int | None, **asked: Any) -> list[int]:
    """Prompt length in tokens of every row with a model folder's processor, as its training has them by default, with
    the flags `asked` of a prompt's style. Loads transformers. SettingError for a model that is not trained."""
    from overlay.data.dataset import load_dataset
    from overlay.data.lengths import prompt_lengths
    from overlay.data.templates import style_of_rows
    from overlay.model.processor import check_grids, load_processor

    made = load_processor(processor, max_pixels=max_pixels)
    check_grids(processor, made)
    style = style_of_training(processor, made, **asked)
    rows = load_dataset(str(file), str(images), history=style.history_screens, crop=style.history_crop)
    return prompt_lengths(rows, style_of_rows(style, rows), made)


def style_of_training(model: str, processor: Any, **asked: Any) -> Any:
    """The PromptStyle that training has by default with a model folder and its processor, and with `asked` on top."""
    from overlay.training.style import style_of_run

    size = processor.image_processor.size
    flags = Namespace(
        coordinate_space="auto", min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"], task_type="gui",
        prompt_template=None, **asked,
    )  # fmt: skip
    return style_of_run(flags, model, says=False)


def _table(name: str, counts: Counter, most: int = 15) -> None:
    print(f"{name}:")
    for key, count in counts.most_common(most):
        print(f"  {count:>9,}  {key}")
    if len(counts) > most:
        print(
            f"  {sum(counts.values()) - sum(c for _, c in counts.most_common(most)):>9,}  ({len(counts) - most} more)"
        )


@command("data-check")
def main(argv: list[str] | None = None) -> int:
    """Print the counts; status 1 when a row is broken or there is none."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="JSONL file")
    parser.add_argument("--images", type=Path, required=True, help="image folder of the file")
    parser.add_argument("--processor", help="model folder: print prompt lengths in its tokens")
    parser.add_argument("--max-pixels", type=int, help="with --processor: the training's --max_pixels")
    parser.add_argument("--answer_format", choices=tuple(TAGS), help="with --processor: training's (the model's)")
    many = range(MOST_EARLIER + 1)
    parser.add_argument("--history_screens", type=int, choices=many, help="with --processor: training's (the model's)")
    parser.add_argument("--history_crop", type=float, help="with --processor: training's (the model's)")
    parser.add_argument("--image-check", choices=("decode", "header"), default="decode")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    at_least(args, workers=1, max_pixels=LEAST_PIXELS)
    only_with(args, "processor", "--processor", "max_pixels", *ASKED)
    check_crop(args.history_crop or 0.0)
    if not args.data.is_file():
        raise DataError(f"{args.data}: no such file (DATA=)")
    if not args.images.is_dir():
        raise DataError(f"{args.images}: no such folder (IMAGES=)")
    if args.processor and not Path(args.processor, "config.json").is_file():
        raise DataError(f"{args.processor}: no model folder, config.json is missing (PROCESSOR=)")
    tally = check(args.data, args.images, args.workers, args.image_check == "decode")
    print(f"rows: {tally.rows:,}")
    _table("images per row", tally.images)
    _table("earlier screens per row", tally.earlier)
    if tally.lacking and sum(tally.earlier.values()) > tally.earlier[0]:  # others have some
        lines = ", ".join(map(str, tally.lacking[:SHOWN]))
        said = "with none, though their history goes further back than their screens"
        print(f"  {len(tally.lacking):>9,}  {said}: {lines}")
    _table("image sizes", tally.sizes)
    _table("action types", tally.types)
    _table("right answers per row", tally.also)
    _table("elements", tally.elements)
    _table("groups", tally.groups)
    _table("plans", tally.plans)
    _table("apps", tally.apps)
    if tally.unread:
        _table("keys that are not read", tally.unread)
    if args.processor and not tally.problems:
        asked = {name: getattr(args, name) for name in ASKED}
        lengths = sorted(token_lengths(args.data, args.images, args.processor, args.max_pixels, **asked))
        quantiles = {q: lengths[min(len(lengths) - 1, int(q / 100 * len(lengths)))] for q in (0, 50, 95, 99, 100)}
        print("prompt tokens: " + json.dumps({f"p{q}": value for q, value in quantiles.items()}))
        print("rows that a --max_prompt_length keeps:")
        for budget in BUDGETS:
            print(f"  {bisect_right(lengths, budget):>9,}  {budget}")
    for number, reason in tally.problems[:SHOWN]:
        print(shortened(f"{args.data}:{number}: {reason}"), file=sys.stderr)
    if tally.problems or not tally.rows:
        what = f"{len(tally.problems)} problems" if tally.rows else "no rows"
        print(f"{args.data}: {what}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
