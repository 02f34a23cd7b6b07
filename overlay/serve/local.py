"""Answer with a model folder on this machine, no server: steps of a data file in batches, or a question about images.

    python -m overlay.serve.local MODEL --data rows.jsonl --images TASKS [--index 0 3 7] [--out FOLDER]
    python -m overlay.serve.local MODEL --image screen.png [more.png] --question "What changed?"
    python -m overlay.serve.local MODEL --image screen.png --refer "the submit button" [--out FOLDER]

Runs on the GPU where there is one, else on the CPU. With --out each answer's action, or the box of a referring
expression, is drawn on its screen, in the coordinates that the model was trained in (`overlay.serve.style`).
"""

import argparse
import re
import sys
from pathlib import Path
from pickle import UnpicklingError

import pyarrow as pa
import torch
from datasets import Dataset
from transformers import AutoModelForImageTextToText

from overlay.action.action import Action, parse_action, parse_coordinates
from overlay.action.completion import WIDE, split
from overlay.action.reserved import MARK
from overlay.action.space import rescale
from overlay.checks import at_least, only_with, writable_folder
from overlay.data.arrow import SCHEMA
from overlay.data.dataset import each_row, load_dataset
from overlay.data.images import scale_of
from overlay.errors import Arguments, SettingError, command
from overlay.model.answer import complete
from overlay.model.processor import limit_pixels, load_processor
from overlay.pages.picture import drawn
from overlay.prompt.style import PromptStyle
from overlay.serve.style import of_rows, style_flags, style_of

REFER = (
    "Please provide the bounding box coordinate of the region this sentence describes: {}. First output the thinking "
    "process in <think> </think> tags and then output the final answer in <answer> </answer> tags as [x1, y1, x2, y2]."
)
_BOX = re.compile(r"\[?\s*(-?\d+\.?\d*)\s*,\s*(-?\d+\.?\d*)\s*,\s*(-?\d+\.?\d*)\s*,\s*(-?\d+\.?\d*)\s*\]?")


def read_box(completion: str) -> tuple[float, ...] | None:
    """The box (x1, y1, x2, y2) of an answer: the last four numbers that stand together in its answer part."""
    found = _BOX.findall((split(completion).answer or completion).translate(WIDE))
    return parse_coordinates(",".join(found[-1])) if found else None


def question_rows(paths: list[str], question: str) -> Dataset:
    """One row that asks `question` about the images."""
    row = {"image": paths, "problem": MARK * len(paths) + question, "solution": "", "source": "the question"}
    return Dataset(pa.Table.from_pylist([{"accu_reward_method": "default", **row}], schema=SCHEMA))


@command("local", OSError, ValueError, IndexError, UnpicklingError)
def main(argv: list[str] | None = None) -> int:
    """Answer, print and draw what the command line asks for."""
    parser = Arguments(description="Answer with a model folder on this machine.")
    parser.add_argument("model")
    parser.add_argument("--data", help="a data file")
    parser.add_argument("--images", help="its image folder")
    parser.add_argument("--index", type=int, nargs="*", help="rows of --data, from 0; all by default")
    parser.add_argument("--image", nargs="*", default=[], help="image files, for --question or --refer")
    parser.add_argument("--question")
    parser.add_argument("--refer", help="a referring expression: the answer's box is read and drawn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max_tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0)
    style_flags(parser)
    parser.add_argument("--out", type=Path, help="folder for pictures")
    args = parser.parse_args(argv)
    if bool(args.data) + bool(args.question) + bool(args.refer) != 1:
        raise SettingError("give one of --data, --question and --refer")
    only_with(args, "data", "--data", "images", "index")
    if args.image and args.data:
        raise SettingError("--image: needs --question or --refer; the images of --data's rows are in --images")
    at_least(args, batch=1, max_tokens=1, temperature=0)
    if min(args.index or [0]) < 0:
        raise SettingError(f"--index {min(args.index)}: rows are counted from 0")
    if args.out:
        writable_folder(args.out)
    answer(args)
    return 0


def answer(args: argparse.Namespace) -> None:
    """Answer, print, draw."""
    processor = load_processor(args.model, args.min_pixels, args.max_pixels)
    style, told = style_of(args)
    limit_pixels(processor, style.space.min_pixels, style.space.max_pixels)
    if args.data:
        shown = {"history": style.history_screens, "crop": style.history_crop}
        rows = load_dataset(args.data, args.images or "", "gui_action", **shown)
        rows = rows.select(args.index) if args.index is not None else rows
        told += of_rows(style, rows["problem"])
    else:
        rows = question_rows(args.image, REFER.format(args.refer) if args.refer else args.question)
        style = PromptStyle(space=style.space)
    print(told, file=sys.stderr)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "auto" if device == "cuda" else None
    model = AutoModelForImageTextToText.from_pretrained(args.model, dtype=dtype, trust_remote_code=False)
    model.to(device)  # pyright: ignore[reportArgumentType] its decorator hides `self`
    texts = complete(model, processor, rows, style, args.batch, args.max_tokens, args.temperature, progress="answers")
    for number, (row, text) in enumerate(zip(each_row(rows), texts, strict=True)):
        print(f"--- {row['source']}\n{text}")
        scale = scale_of(style, row["image"], row["source"])
        picture = None
        if args.refer:
            box = read_box(text)
            print(f"box: {'none' if box is None else [round(v) for v in rescale(box, scale, back=True)]} (pixels)")
            picture = drawn(row["image"][-1], Action("click", list(box)), scale) if box else None
        elif args.data and row["image"]:
            golds = [parse_action(gold) for gold in (row["solution"], *row["also"])]
            picture = drawn(row["image"][-1], parse_action(text, style.answer_format), scale, golds)
        if args.out and picture is not None:
            picture.save(args.out / f"{number}.png")


if __name__ == "__main__":
    sys.exit(main())
