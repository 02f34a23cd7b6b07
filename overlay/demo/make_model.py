"""Make the demo's model again, in about an hour on two cores: screens → eyes → full steps → bad recordings → model.

    python -m overlay.demo.make_model --out runs/demo-model        (make demo-model)

A Qwen2.5-VL of two million parameters. `overlay.demo.see` teaches it to read a screen and to say where a thing is, then
full steps with the GUI prompt. Last comes `make sft` on recordings that end too early (overlay.demo.recordings): it
still sees, and often stops, which leaves GRPO room. What each stage wrote is used again when it is there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForImageTextToText

from data_prep.convert import convert
from data_prep.phone.render import render, tasks
from overlay.action.space import Space
from overlay.data.dataset import each_row, load_dataset
from overlay.demo import tiny_model
from overlay.demo.album import make_album
from overlay.demo.flags import PIXELS, SFT, sft_flags, words_of
from overlay.demo.recordings import write_recordings
from overlay.demo.score import MODEL
from overlay.demo.step_lessons import looked_answer
from overlay.errors import Arguments, RunStopped, command
from overlay.live import chromium
from overlay.live.phone import photo
from overlay.live.phone.environment import SCALE
from overlay.live.phone.kinds import TRAINED_KINDS
from overlay.live.phone.screen import HEIGHT
from overlay.live.phone.words import vocabulary
from overlay.model.processor import load_processor
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from overlay.prompt.template import load_template

TOWER = {"depth": 4, "hidden_size": 96, "intermediate_size": 288, "fullatt_block_indexes": [1, 3]}
STYLE = PromptStyle(space=Space("resized", 28**2, PIXELS))
NUMBERS = [str(number) for number in range(HEIGHT + 1)]


def steps_of(out: Path, count: int) -> Dataset:
    """Rows of `count` full steps that the demo's data has none of."""
    folder, file = out / "steps", out / "steps.jsonl"
    if not folder.is_dir():
        aside = out / "steps.new"
        shutil.rmtree(aside, ignore_errors=True)
        with photo.open_page(SCALE) as page:
            render(page, aside, tasks(9, TRAINED_KINDS, False), 90_001, count)
        aside.rename(folder)
    convert(folder, file, load_template("zh"), workers=2)
    return load_dataset(str(file), str(folder), "gui_action", out / "arrow")


def untrained(out: Path, rows: Dataset) -> Path:
    """Folder of the model before it has seen anything."""
    folder = out / "untrained"
    if not folder.is_dir():
        texts = [text for r in each_row(rows) for text in (r["problem"], looked_answer(r["problem"], r["solution"]))]
        processor = tiny_model.build_processor(texts, PIXELS, [*vocabulary(), *NUMBERS])
        model = tiny_model.build_model(processor, depth=5, vision=TOWER)
        torch.nn.init.normal_(model.lm_head.weight, std=model.lm_head.in_features**-0.5)  # the embeddings' too
        tiny_model.save(model, processor, out / "untrained.new")
        write_style(STYLE, out / "untrained.new")
        (out / "untrained.new").rename(folder)
    return folder


def taught(start: Path, folder: Path, *flags: object) -> Path:
    """`folder`, with the model in `start` after `overlay.demo.see` with these flags, on two ranks."""
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".new")
        shutil.copytree(start, aside, dirs_exist_ok=True)
        ranks = ["-m", "torch.distributed.run", "--nproc_per_node", 2]
        run("overlay.demo.see", *ranks, "-m", "overlay.demo.see", "--model", aside, *flags)
        aside.rename(folder)
    return folder


def run(name: str, *line: object) -> None:
    """Run Python with this command line."""
    if subprocess.run([sys.executable, *map(str, line)]).returncode:
        raise RunStopped(f"{name} failed; its reason stands above")


def misled(start: Path, folder: Path, out: Path) -> Path:
    """`folder`, with the model in `start` after supervised training on steps that end too early."""
    if not folder.is_dir():
        found, changed = write_recordings(out / "steps.jsonl", out / "early.jsonl")
        print(f"{changed} of {found} steps before a plan's last say that all is done", file=sys.stderr)
        aside = folder.with_name(folder.name + ".new")
        shutil.rmtree(aside, ignore_errors=True)
        flags = sft_flags(start, out / "early.jsonl", out / "steps", aside) | {"max_steps": 120}
        run("make sft", *SFT, *words_of(flags))
        aside.rename(folder)
    return folder


@command("demo-model")
def main(argv: list[str] | None = None) -> int:
    """Make all stages that are not there yet, and write the model beside this file."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo-model"))
    parser.add_argument("--to", type=Path, default=MODEL, help="folder of the finished model (replaced)")
    parser.add_argument("--screens", type=int, default=9000)
    parser.add_argument("--steps", type=int, default=2400, help="full steps to learn from")
    parser.add_argument("--see-steps", type=int, default=900, help="batches of screens")
    parser.add_argument("--act-steps", type=int, default=300, help="batches of screens and of full steps, in turn")
    args = parser.parse_args(argv)
    chromium.check()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = steps_of(args.out, args.steps)
    make_album(args.out / "album", args.screens, 11)
    album = ("--album", args.out / "album")
    folder = taught(untrained(args.out, rows), args.out / "seeing", *album, "--steps", args.see_steps)
    full = ("--rows", args.out / "steps.jsonl", "--images", args.out / "steps", "--batch", 16)
    folder = taught(folder, args.out / "acting", *album, *full, "--steps", args.act_steps)
    folder = misled(folder, args.out / "misled", args.out)
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), load_processor(str(folder))
    aside = args.to.with_name(args.to.name + ".new")
    tiny_model.save(model.half(), processor, aside)
    write_style(STYLE, aside)
    shutil.rmtree(args.to, ignore_errors=True)
    aside.rename(args.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
