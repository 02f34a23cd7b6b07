"""The main job end to end on steps rendered from MiniWoB++: rows → warm start → GRPO → held-out score → page.

    python -m overlay.demo.run --out runs/demo [--backend vlm-r1]          (make demo)

Every stage is the one a user runs: data_prep.convert makes the rows, the trainer's command line trains, one process for
each seed. Only the model is small (overlay.demo.tiny_model). Writes metrics.json and report.html; the exit status is 1
when the held-out score did not rise.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForImageTextToText

from data_prep.convert import convert
from overlay.checks import at_least, writable_folder
from overlay.data.dataset import each_row, load_dataset
from overlay.data.images import size_of
from overlay.demo import score, tiny_model
from overlay.demo.difference import difference
from overlay.demo.report import write_report
from overlay.demo.warm_start import STYLE, reasoned_answer, warm_start
from overlay.errors import Arguments, RunStopped, Stopped, command
from overlay.metrics.flags import RULE, Metric
from overlay.metrics.rules.step import Screen
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.nodes.facts import commit
from overlay.patching.submodule import Submodule
from overlay.prompt.style_file import read_style, write_style
from overlay.prompt.template import load_template
from overlay.training import log_file

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "data_prep" / "miniwob" / "tasks"
UPSTREAM = ROOT / "VLM-R1" / "src" / "open-r1-multimodal"
PROGRAMS = {
    "trl": ["-m", "overlay.backends.trl.train", "--reward_weights", "1", "0.25", "--max_prompt_length", "400"],
    "vlm-r1": [str(UPSTREAM / "src/open_r1/grpo_jsonl.py"), "--dataset_name", "none", "--torch_dtype", "float32"],
}
MADE = "made.json"  # in the folder of a seed whose run is whole
# glibc gives every freed tensor back to the kernel and faults it in again; keeping it saves a fifth of a step here.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def make_rows(out: Path, split: str) -> Dataset:
    """Rows of one split of the rendered tasks, as `make data` writes them, loaded."""
    file = out / f"{split}.jsonl"
    convert(TASKS / split, file, load_template("zh"), workers=os.cpu_count() or 1)
    return load_dataset(str(file), str(TASKS / split), "gui_action", out / "arrow")


def warm_model(out: Path, rows: Dataset, steps: int) -> Path:
    """Folder of the warm-started tiny model; built once for the same rows, steps and code."""
    code = Path(tiny_model.__file__).read_bytes() + Path(tiny_model.__file__).with_name("warm_start.py").read_bytes()
    key = hashlib.sha256(code + (out / "train.jsonl").read_bytes() + str(steps).encode()).hexdigest()[:12]
    folder = out / f"warm-{key}"
    if folder.is_dir():
        print(f"warm start: {folder} is there already", file=sys.stderr)
        return folder
    texts = [text for r in each_row(rows) for text in (r["problem"], reasoned_answer(r["problem"], r["solution"]))]
    processor = tiny_model.build_processor(texts)
    model = warm_start(tiny_model.build_model(processor), processor, rows, out / "warm.log", steps)
    aside = folder.with_suffix(".tmp")
    tiny_model.save(model, processor, aside)
    write_style(STYLE, aside)
    aside.rename(folder)
    return folder


def train(out: Path, model: Path, seed: int, steps: int, backend: str) -> Path:
    """One GRPO run through the trainer's command line; returns its output folder. A run that is there already, of the
    same model, steps, backend and commit, is taken as it is."""
    folder = out / f"seed-{seed}"
    made = {"model": model.name, "steps": steps, "backend": backend, "commit": commit(ROOT)}
    if made["commit"].isalnum() and done(folder) == made:
        print(f"GRPO, seed {seed}: {folder} is there already", file=sys.stderr)
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    line = [
        sys.executable, *PROGRAMS[backend],
        "--model_name_or_path", model, "--output_dir", folder, "--seed", seed,
        "--data_file_paths", out / "train.jsonl", "--image_folders", TASKS / "train",
        "--arrow_cache_dir", out / "arrow", "--task_type", "gui",
        "--reward_funcs", "accuracy", "format_scaled", "--reward_method", "gui_action",
        "--max_pixels", tiny_model.PIXELS, "--min_pixels", 28 * 28, "--attn_implementation", "sdpa",
        "--num_generations", 8, "--per_device_train_batch_size", 64, "--max_completion_length", 72, "--beta", 0,
        "--temperature", 1,
        "--max_steps", steps, "--learning_rate", "1e-4", "--lr_scheduler_type", "constant", "--logging_steps", 1,
        "--save_steps", steps, "--save_only_model", "true", "--gradient_checkpointing", "false",
        "--report_to", "tensorboard", "--use_cpu", "--bf16", "false",
    ]  # fmt: skip
    path = os.pathsep.join([str(UPSTREAM / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run([str(part) for part in line], env=os.environ | {"PYTHONPATH": path})
    if ended.returncode:
        raise RunStopped(f"training with seed {seed} ended with status {ended.returncode}; its reason stands above")
    (folder / MADE).write_text(json.dumps(made) + "\n", encoding="utf-8")  # last: the run is whole
    return folder


def done(folder: Path) -> dict[str, Any] | None:
    """What a whole run's folder was made of, None for any other."""
    try:
        return json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def answered(folder: Path, rows: Dataset, name: str) -> tuple[list[str], dict[str, Metric]]:
    """Greedy answers of the model in `folder` on the rows, and their metrics with the mean reward."""
    processor = load_processor(str(folder))
    model = AutoModelForImageTextToText.from_pretrained(folder)
    style, progress = read_style(folder) or STYLE, f"held-out answers, {name}"
    answers = complete(model, processor, rows, style, 64, 72, progress=progress)
    return answers, figures(answers, rows["solution"], screen_sizes(rows))


def screen_sizes(rows: Dataset) -> list[tuple[int, int]]:
    """(width, height) of each row's current screen in pixels."""
    return [size_of(row["image"][-1], row["source"]) for row in each_row(rows)]


def figures(answers: list[str], solutions: list[str], sizes: list[tuple[int, int]]) -> dict[str, Metric]:
    """Figures of answers in pixels, on screens of these sizes."""
    return score.figures(answers, truth(solutions, sizes))


def truth(solutions: list[str], sizes: list[tuple[int, int]]) -> score.Truth:
    """The truth of rows whose model answers in pixels."""
    return score.Truth(solutions, [Screen(size) for size in sizes], [(float(w), float(h)) for w, h in sizes])


def reward_curve(folder: Path) -> list[tuple[int, float]]:
    """(step, mean accuracy reward) of a finished run, from the trainer's own log. The trainers name it differently."""
    names = ("rewards/accuracy_reward/mean", "rewards/accuracy_reward")
    return [(entry["step"], entry[name]) for entry in log_file.read(folder) for name in names if name in entry]


def without_a_model(rows: Dataset) -> dict[str, dict[str, Metric]]:
    """Figures of `make eval`'s baselines on the rows."""
    return score.without_a_model(truth(list(rows["solution"]), screen_sizes(rows)))


@command("demo")
def main(argv: list[str] | None = None) -> int:
    """Run the demo; status 1 when the held-out score did not rise."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--backend", choices=PROGRAMS, default="trl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="GRPO steps of each seed")
    parser.add_argument("--warm-steps", type=int, default=140, help="supervised steps before")
    args = parser.parse_args(argv)
    at_least(args, seeds=1, steps=1, warm_steps=1)
    writable_folder(args.out)
    started = time.monotonic()
    if args.backend == "vlm-r1":
        print(Submodule().apply(), file=sys.stderr)
    rows, heldout = make_rows(args.out, "train"), make_rows(args.out, "heldout")
    model = warm_model(args.out, rows, args.warm_steps)
    before_answers, before = answered(model, heldout, "before")
    seeds = []
    try:
        for seed in range(args.seeds):
            print(f"GRPO, seed {seed} ({seed + 1} of {args.seeds})", file=sys.stderr)
            folder = train(args.out, model, seed, args.steps, args.backend)
            answers, after = answered(folder, heldout, f"seed {seed}")
            seeds.append({"seed": seed, "answers": answers, "after": after, "curve": reward_curve(folder)})
    except KeyboardInterrupt as stop:
        whole = sum(done(args.out / f"seed-{seed}") is not None for seed in range(args.seeds))
        raise Stopped(f"stopped; {whole} of {args.seeds} seeds are trained: start again to go on") from stop
    rises = {
        name: difference([run["after"][name].value - before[name].value for run in seeds])
        for name in ("step_success_rate", "mean_reward")
    }
    baseline_figures, minutes = without_a_model(heldout), (time.monotonic() - started) / 60
    write_report(args.out, heldout, before, before_answers, seeds, baseline_figures, rises, minutes, args.backend)
    for name, rise in rises.items():
        print(f"{name} (rule {RULE}, N={len(heldout)}): {rise}", file=sys.stderr)
    print(f"{args.out}/report.html, {args.out}/metrics.json ({minutes:.1f} minutes)", file=sys.stderr)
    return 0 if all(rise.rose for rise in rises.values()) else 1


if __name__ == "__main__":
    # The allocator reads its settings at start, and children inherit them.
    if not KEEP_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "overlay.demo.run", *sys.argv[1:]], os.environ | KEEP_MEMORY)
    sys.exit(main())
