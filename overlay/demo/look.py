"""Does the seeing model look? Its held-out hits on the true screens, on grey, on another row's and on swapped ones.

    python -m overlay.demo.look --out runs/look [--model FOLDER]        (make look)

Writes look.json. The status is 1 when hits do not fall by more than two standard errors with each kind of screens.
"""

import json
import sys
from dataclasses import asdict
from math import sqrt
from pathlib import Path

from overlay.checks import writable_folder
from overlay.demo.score import MODEL, Scored, Scorer, rows_of, without_a_model
from overlay.errors import Arguments, SettingError, command
from overlay.metrics.flags import RULE, Metric
from overlay.model.folder import check_model
from overlay.prompt.style_file import read_style

SHOWN = ("format_rate", "action_type_accuracy", "grounding_accuracy", "step_success_rate", "mean_reward")


def falls(wrong: Metric, own: Metric) -> bool:
    """Whether a share is lower by more than two standard errors of the difference."""
    error = sqrt(sum(m.value * (1 - m.value) / m.n for m in (wrong, own)))
    return own.value - wrong.value > 2 * error


def tell(scored: Scored, baselines: dict[str, dict[str, Metric]]) -> bool:
    """Print the figures; whether the model looks."""
    for name in SHOWN:
        parts = [f"{policy} {values[name].value:.3f}" for policy, values in baselines.items()]
        print(f"{name:22} {scored.figures[name].value:.3f} N={scored.figures[name].n}  ({', '.join(parts)})")
    looks = True
    for look, (wrong, own) in scored.looks.items():
        here, there = wrong["grounding_accuracy"], own["grounding_accuracy"]
        looks &= falls(here, there)
        print(f"grounding_accuracy on {look} screens {here.value:.3f}, on their own {there.value:.3f} N={here.n}")
    return looks


@command("look")
def main(argv: list[str] | None = None) -> int:
    """Score the model, and write what was found."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/look"))
    parser.add_argument("--model", type=Path, default=MODEL)
    args = parser.parse_args(argv)
    check_model(str(args.model), trusted=False)
    if (style := read_style(args.model)) is None:
        raise SettingError(f"--model {args.model}: no prompt_style.json there; make demo-model makes such a folder")
    writable_folder(args.out)
    scorer = Scorer(rows_of(args.out, "heldout"), style, args.out)
    scored, baselines = scorer.scored(args.model, args.model.name), without_a_model(scorer.truth)
    found = {
        "rule": RULE,
        "figures": {name: asdict(metric) for name, metric in scored.figures.items()},
        "baselines": {policy: {n: asdict(m) for n, m in values.items()} for policy, values in baselines.items()},
        "looks": {
            look: {"these screens": asdict(wrong["grounding_accuracy"]), "own": asdict(own["grounding_accuracy"])}
            for look, (wrong, own) in scored.looks.items()
        },
    }
    (args.out / "look.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    looks = tell(scored, baselines)
    print(args.out / "look.json")
    return 0 if looks else 1


if __name__ == "__main__":
    sys.exit(main())
