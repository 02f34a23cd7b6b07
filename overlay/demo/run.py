"""The main job end to end on steps of our own pages: rows → GRPO → held-out score → page.

    python -m overlay.demo.run --out runs/demo [--backend vlm-r1]          (make demo)

Every stage is the one a user runs: data_prep.convert makes the rows, the trainer's command line trains, one process for
each seed. Only the model is small: it sees, and says too early that all is done (overlay.demo.make_model). Writes
metrics.json and report.html; the exit status is 1 when the held-out score did not rise, or when a model does as well
without its screens.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from overlay.checks import at_least, writable_folder
from overlay.demo.difference import difference
from overlay.demo.flags import GRPO, KEEP_MEMORY, ROOT, UPSTREAM, grpo_flags, words_of
from overlay.demo.report import write_report
from overlay.demo.score import MODEL, TASKS, Scorer, rows_of, without_a_model
from overlay.errors import Arguments, RunStopped, SettingError, Stopped, command
from overlay.metrics.flags import RULE
from overlay.nodes.facts import commit
from overlay.patching.submodule import Submodule
from overlay.prompt.style_file import read_style
from overlay.training import log_file

RISES = ("grounding_accuracy", "step_success_rate")  # what has to rise for the demo to be a success
MADE = "made.json"  # in the folder of a seed whose run is whole


def training(
    backend: str, rows: Path, images: Path, folder: Path, **changed: object
) -> tuple[list[str], dict[str, str]]:
    """(command line, environment) of a GRPO run of the shipped model into `folder`; `changed`: other flags' values."""
    line = [sys.executable, *GRPO[backend], *words_of(grpo_flags(MODEL, rows, images, folder) | changed)]
    path = os.pathsep.join([str(UPSTREAM / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return line, os.environ | {"PYTHONPATH": path}


def train(out: Path, seed: int, steps: int, backend: str) -> Path:
    """One GRPO run through the trainer's command line; returns its output folder. A run that is there already, of the
    same steps, backend and commit, is taken as it is."""
    folder, made = out / f"seed-{seed}", making(steps, backend)
    if made["commit"].isalnum() and done(folder) == made:
        print(f"GRPO, seed {seed}: {folder} is there already", file=sys.stderr)
        return folder
    if (before := done(folder)) is not None:
        other = {name: value for name, value in made.items() if before.get(name) != value or not str(value).isalnum()}
        told = ", ".join(f"{name} {before.get(name)} there, {value} now" for name, value in other.items())
        print(f"GRPO, seed {seed}: {folder} is made anew ({told})", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    about = {"seed": seed, "max_steps": steps, "save_steps": steps}
    line, environment = training(backend, out / "train.jsonl", TASKS / "train", folder, **about)
    status = subprocess.run(line, env=environment).returncode
    if status:
        raise RunStopped(f"training with seed {seed} ended with status {status}; its reason stands above")
    (folder / MADE).write_text(json.dumps(made) + "\n", encoding="utf-8")  # last: the run is whole
    return folder


def making(steps: int, backend: str) -> dict[str, Any]:
    """What a run of now is made of."""
    return {"steps": steps, "backend": backend, "commit": commit(ROOT)}


def done(folder: Path) -> dict[str, Any] | None:
    """What a whole run's folder was made of, None for any other."""
    try:
        return json.loads((folder / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def reward_curve(folder: Path) -> list[tuple[int, float]]:
    """(step, mean accuracy reward) of a finished run, from the trainer's own log. The trainers name it differently."""
    names = ("rewards/accuracy_reward/mean", "rewards/accuracy_reward")
    return [(entry["step"], entry[name]) for entry in log_file.read(folder) for name in names if name in entry]


@command("demo")
def main(argv: list[str] | None = None) -> int:
    """Run the demo; status 1 when the held-out score did not rise."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--backend", choices=GRPO, default="trl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="GRPO steps of each seed")
    args = parser.parse_args(argv)
    at_least(args, seeds=1, steps=1)
    writable_folder(args.out)
    started = time.monotonic()
    if args.backend == "vlm-r1":
        print(Submodule().apply(), file=sys.stderr)
    rows_of(args.out, "train")
    heldout, style = rows_of(args.out, "heldout"), read_style(MODEL)
    if style is None:
        raise SettingError(f"{MODEL} is not there: make demo-model makes it")
    scorer = Scorer(heldout, style, args.out)
    before, seeds = scorer.scored(MODEL, "before"), []
    try:
        for seed in range(args.seeds):
            print(f"GRPO, seed {seed} ({seed + 1} of {args.seeds})", file=sys.stderr)
            folder = train(args.out, seed, args.steps, args.backend)
            seeds.append({"seed": seed, "after": scorer.scored(folder, f"seed {seed}"), "curve": reward_curve(folder)})
    except KeyboardInterrupt as stop:
        made = making(args.steps, args.backend)
        whole = sum(done(args.out / f"seed-{seed}") == made for seed in range(args.seeds))
        raise Stopped(f"stopped; {whole} of {args.seeds} seeds are trained: start again to go on") from stop
    after = [run["after"] for run in seeds]
    rises = {
        name: difference([one.figures[name].value - before.figures[name].value for one in after]) for name in RISES
    }
    falls = {look: difference([one.fall(look) for one in after]) for look in scorer.looks}
    baselines, minutes = without_a_model(scorer.truth), (time.monotonic() - started) / 60
    write_report(args.out, scorer, before, seeds, baselines, rises, falls, minutes, args.backend)
    for name, rise in rises.items():
        print(f"{name} (rule {RULE}, N={before.figures[name].n}): {rise}", file=sys.stderr)
    for look, fall in falls.items():
        print(f"grounding_accuracy, true screens - {look}: {fall}", file=sys.stderr)
    print(f"{args.out}/report.html, {args.out}/metrics.json ({minutes:.1f} minutes)", file=sys.stderr)
    return 0 if all(each.rose for each in (*rises.values(), *falls.values())) else 1


if __name__ == "__main__":
    # The allocator reads its settings at start, and children inherit them.
    if not KEEP_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "overlay.demo.run", *sys.argv[1:]], os.environ | KEEP_MEMORY)
    sys.exit(main())
