"""One run of a recipe: supervised training, GRPO, each by the command that users run; what is there already stays."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.learning.recipes import Recipe
from overlay.demo.flags import GRPO, KEEP_MEMORY, SFT, Flags, grpo_flags, sft_flags, words_of
from overlay.demo.recordings import write_recordings
from overlay.demo.score import MODEL, MOST_TOKENS, TASKS
from overlay.errors import RunStopped

TRAIN = TASKS / "train"
MADE = "recipe.json"  # in the folder of a run that is whole: what it was asked
SAMPLES = 4  # of each row, for its difficulty


def command(what: str, *line: object) -> None:
    """Run Python with this command line. Raises RunStopped."""
    if status := subprocess.run([sys.executable, *map(str, line)], env=os.environ | KEEP_MEMORY).returncode:
        raise RunStopped(f"{what} ended with status {status}; its reason stands above")


def once(folder: Path, flags: Flags, *program: object) -> Path:
    """`folder`, made by a trainer's command line unless the same was made before."""
    made, asked = folder / MADE, json.dumps(flags, default=str)
    if not made.exists() or made.read_text(encoding="utf-8") != asked:
        shutil.rmtree(folder, ignore_errors=True)
        command(folder.name, *program, *words_of(flags))
        made.write_text(asked, encoding="utf-8")
    return folder


def grpo(folder: Path, start: Path, rows: Path, steps: int, seed: int, flags: Flags) -> Path:
    """GRPO from `start` on `rows`: the demo's, with other `flags`."""
    asked = {"seed": seed, "max_steps": steps, "save_steps": steps, **flags}
    return once(folder, grpo_flags(start, rows, TRAIN, folder) | asked, *GRPO["trl"])


def sft(folder: Path, rows: Path, seed: int, flags: Flags) -> Path:
    """Supervised training of the demo's model on `rows`, which have reasoning: the demo's last lesson, on these."""
    return once(folder, sft_flags(MODEL, rows, TRAIN, folder) | flags | {"seed": seed}, *SFT)


def with_difficulty(out: Path, rows: Path) -> Path:
    """The rows with their difficulty for the demo's model, by `make difficulty`."""
    folder = out / "difficulty"
    asked = ("--model", MODEL, "--data", rows, "--images", TRAIN, "--out", folder, "--samples", SAMPLES)
    if not (folder / rows.name).exists():
        command("make difficulty", "-m", "overlay.evaluate.difficulty", *asked, "--max_tokens", MOST_TOKENS)
    return folder / rows.name


def trained(out: Path, recipe: Recipe, rows: Path, steps: int, seed: int) -> Path:
    """The folder of the model that a recipe makes with a seed."""
    folder, start = out / f"{recipe.name}-{seed}", MODEL
    if recipe.warm is not None:
        told = out / ("loose.jsonl" if recipe.loose else "recordings.jsonl")
        write_recordings(rows, told, early=0.0, loose=recipe.loose)
        start = sft(out / f"{told.stem}-{seed}", told, seed, recipe.warm)
    if recipe.flags is None:
        return start
    return grpo(folder, start, with_difficulty(out, rows) if recipe.sampled else rows, steps, seed, recipe.flags)
