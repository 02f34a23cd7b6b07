"""Train the demo's model by one recipe and by another, over several seeds, and judge each on what none has seen.

    python -m benchmarks.learning.run clicks --seeds 3 --out runs/learning

STUDY: live (GRPO on pages), episodes (semi-online or step-wise), clicks (--click_reward), warm-start (SFT before GRPO),
difficulty (only rows that are neither always nor never right). Writes OUT/STUDY/results.json, a table and a picture.
Hours on two cores: what is trained and judged already stays, so a stopped study goes on.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.learning import judged
from benchmarks.learning.picture import draw
from benchmarks.learning.recipes import STUDIES, Study
from benchmarks.learning.runs import trained
from overlay.checks import at_least, writable_folder
from overlay.demo.difference import difference
from overlay.demo.score import MODEL, rows_of, truth_of
from overlay.errors import Arguments, SettingError, command
from overlay.prompt.style_file import read_style

Figures = dict[str, float]
Results = dict[str, list[dict[str, Any]]]  # recipe → of each seed, with `folder`


class Judge:
    """Judges model folders as a study wants it; verdicts are kept beside the model."""

    def __init__(self, how: str, out: Path):
        style = read_style(MODEL)
        assert style is not None
        self.how, self.rows, self.style = how, rows_of(out, "heldout"), style
        self.truth = truth_of(self.rows, style)

    def __call__(self, model: Path, beside: Path) -> Figures:
        """The figures of the model in a folder; they lie in `beside`."""
        file = beside / f"{self.how}.json"
        if not file.exists():
            beside.mkdir(parents=True, exist_ok=True)
            if self.how == "play":
                found = judged.played(model, beside / "play")
            else:
                found = judged.answered(model, self.rows, self.truth, self.style)
            file.write_text(json.dumps(found), encoding="utf-8")
        return json.loads(file.read_text(encoding="utf-8"))


def study(name: str, about: Study, seeds: int, out: Path) -> tuple[Figures, Results]:
    """(the start's figures, those of each recipe's seeds)."""
    rows_of(out, "train")
    judge, results = Judge(about.judge, out), dict[str, list[dict[str, Any]]]()
    before = judge(MODEL, out / "start")
    for seed in range(seeds):
        for recipe in about.recipes:
            print(f"{name}: {recipe.shown}, seed {seed}", file=sys.stderr, flush=True)
            folder = trained(out, recipe, out / "train.jsonl", about.steps, seed)
            results.setdefault(recipe.shown, []).append({**judge(folder, folder), "folder": str(folder)})
    return before, results


def table(before: Figures, results: Results) -> str:
    """A line for the start and for each recipe: means over the seeds, each with its rise and standard error."""
    lines = ["| | " + " | ".join(before) + " |", "|---" * (len(before) + 1) + "|"]
    lines.append("| start | " + " | ".join(f"{value:.3f}" for value in before.values()) + " |")
    for recipe, seeds in results.items():
        cells = []
        for figure, value in before.items():
            rise = difference([one[figure] - value for one in seeds])
            error = "" if rise.standard_error is None else f" ± {rise.standard_error:.3f}"
            cells.append(f"{value + rise.mean:.3f} ({rise.mean:+.3f}{error})")
        lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@command("learning")
def main(argv: list[str] | None = None) -> int:
    """Run one study."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=Path("runs/learning"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(argv)
    at_least(args, seeds=1)
    writable_folder(args.out)
    if read_style(MODEL) is None:
        raise SettingError(f"{MODEL} is not there: make demo-model makes it")
    before, results = study(args.study, STUDIES[args.study], args.seeds, args.out)
    kept = args.out / args.study
    kept.mkdir(exist_ok=True)
    (kept / "results.json").write_text(json.dumps({"start": before, **results}, indent=2), encoding="utf-8")
    draw(args.study, before, results, STUDIES[args.study].sizes, kept / f"{args.study}.png")
    print(table(before, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
