"""A page of data files to look at before anything is trained: rows with their screens, gold and prompt, histograms,
what the files share, problems by kind.

    python -m data_prep.preview train.jsonl:held_out.jsonl --images TASKS [--out FILE] [--rows 24]     (make preview)

Give the training and the held-out file together: what both hold makes a score too good. With `--processor` (a model's
folder) prompts are those of its chat template, golds are in its coordinates, and lengths are in its tokens. Broken rows
are counted as `make data-check` does; the status is then 1, and the page is there all the same.
"""

import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_prep.preview.facts import DataFile, by_kind, read, shared
from data_prep.preview.page import Shown, cards, histograms, name_of
from overlay.action.completion import ANSWER_TAG, TAGS
from overlay.action.space import LEAST_PIXELS, Space
from overlay.checks import at_least, writable_file
from overlay.data.dataset import load_dataset, split_paths
from overlay.data.lengths import prompt_lengths
from overlay.data.templates import style_of_rows
from overlay.errors import Arguments, DataError, SettingError, command
from overlay.pages.render import write_page
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import read_style
from overlay.prompt.template import LANGUAGES, load_template
from overlay.settings import MOST_EARLIER, check_crop

MAX_PIXELS = 1_003_520  # the launcher's


def shown_as(args: Namespace) -> Shown:
    """As the flags say, and where they do not, the model; `args` then has the pixel limit. Raises SettingError."""
    before = read_style(Path(args.processor)) if args.processor and Path(args.processor).is_dir() else None
    args.max_pixels = args.max_pixels or (before.space.max_pixels if before else MAX_PIXELS)
    if not args.processor:
        space = Space("original", max_pixels=args.max_pixels)
        args.prompt_template = args.prompt_template or "zh"
        language = args.prompt_template if args.prompt_template in LANGUAGES else "zh"
        template = load_template(args.prompt_template)
        style = PromptStyle(
            template, language, space=space, answer_format=args.answer_format or ANSWER_TAG,
            history_screens=args.history_screens or 0, history_crop=args.history_crop or 0.0,
        )  # fmt: skip
        said = "Without PROCESSOR= no model is known: no chat template, golds in pixels of the screen."
        return Shown(style, _plain, said)
    from overlay.model.processor import training_processor
    from overlay.training.style import style_of_run

    flags = Namespace(
        coordinate_space="auto", min_pixels=LEAST_PIXELS, max_pixels=args.max_pixels, task_type="gui",
        prompt_template=args.prompt_template, answer_format=args.answer_format,
        history_screens=args.history_screens, history_crop=args.history_crop,
    )  # fmt: skip
    style = style_of_run(flags, args.processor)
    processor: Any = training_processor(args.processor, flags.min_pixels, flags.max_pixels)

    def written(messages: list[dict[str, Any]], tokens: list[int]) -> str:
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        pad = processor.image_token
        first, *rest = str(text).split(pad)
        return first + "".join(f"{pad} × {count:,}{part}" for count, part in zip(tokens, rest, strict=True))

    said = f"Prompts of {args.processor}; golds as it counts coordinates: {style.space.name}."
    return Shown(style, written, said, processor)


def _plain(messages: list[dict[str, Any]], tokens: list[int]) -> str:
    counts = iter(tokens)
    parts = (part for message in messages for part in message["content"])
    return "".join(f"[image: {next(counts):,} tokens]" if part["type"] == "image" else part["text"] for part in parts)


def given(data: str, images: str) -> list[tuple[Path, Path]]:
    """The data files, each with its image folder; one folder serves all. Raises DataError or SettingError."""
    files, folders = ([Path(part) for part in split_paths(value)] for value in (data, images))
    if len(folders) == 1:
        folders *= len(files)
    if len(folders) != len(files):
        raise SettingError(f"{len(files)} files in DATA= but {len(folders)} folders in IMAGES=: one for each, or one")
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file (DATA=)")
    for path in folders:
        if not path.is_dir():
            raise DataError(f"{path}: no such folder (IMAGES=)")
    return list(zip(files, folders, strict=True))


def write(args: Namespace, files: list[DataFile], shown: Shown) -> int:
    """Write the page; returns how many problems it names."""
    names = [name_of(each, files) for each in files]
    problems = {name: by_kind(each.tally.problems) for name, each in zip(names, files, strict=True)}
    broken = sum(len(each.tally.problems) for each in files)
    lengths = None
    if shown.processor and not broken:
        more = {"history": shown.style.history_screens, "crop": shown.style.history_crop}
        sets = [load_dataset(str(each.path), str(each.folder), **more) for each in files]
        shown = replace(shown, style=style_of_rows(shown.style, sets[0]))
        measured = [prompt_lengths(rows, shown.style, shown.processor) for rows in sets]
        lengths = dict(zip(names, measured, strict=True))
    count = -(-args.rows // len(files))
    parts = [cards(each, name, count, args.seed, shown) for name, each in zip(names, files, strict=True)]
    write_page(
        args.out, "preview.html", names=names, files=files, said=shown.said, problems=problems, broken=broken,
        shared=shared(files), figures=histograms(files, lengths, shown),
        cards=[card for part in parts for card in part], limit=args.max_pixels,
    )  # fmt: skip
    return broken


@command("preview")
def main(argv: list[str] | None = None) -> int:
    """Write the page; status 1 when a row is broken or there is none."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", help="data file(s), separated by ':'")
    parser.add_argument("--images", required=True, help="their image folders, separated by ':', or one for all")
    parser.add_argument("--out", type=Path, default=Path("runs/preview.html"), help="page to write")
    parser.add_argument("--processor", help="model folder: its prompts, coordinates and tokens")
    many = range(MOST_EARLIER + 1)
    parser.add_argument("--history_screens", type=int, choices=many, help="before a row's own (the model's, else 0)")
    parser.add_argument("--history_crop", type=float, help="share of each that is shown (the model's, else 0, all)")
    parser.add_argument("--answer_format", choices=tuple(TAGS), help="in the prompts (the model's, else answer_tag)")
    parser.add_argument("--prompt_template", help="zh, en or a file, for rows that bring none (the model's, else zh)")
    parser.add_argument("--max_pixels", type=int, help=f"of each screenshot (the model's, else {MAX_PIXELS})")
    parser.add_argument("--rows", type=int, default=24, help="rows to show, over all files")
    parser.add_argument("--seed", type=int, default=0, help="draws them")
    parser.add_argument("--image-check", choices=("decode", "header"), default="decode")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    pairs = given(args.data, args.images)
    at_least(args, rows=1, workers=1, max_pixels=LEAST_PIXELS)
    check_crop(args.history_crop or 0.0)
    writable_file(args.out)
    shown = shown_as(args)
    decode = args.image_check == "decode"
    files = [read(path, folder, args.workers, decode) for path, folder in pairs]
    broken = write(args, files, shown)
    rows = sum(each.tally.rows for each in files)
    print(f"{args.out}: {rows:,} rows of {len(files)} files, {broken} problems")
    return 1 if broken or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
