"""A page of a run's rollouts: every sampled completion with its rewards, on its screens, to filter and sort.

    python -m overlay.pages.rollouts RUN [--out FILE] [--last 300]      (make rollouts RUN=)

RUN is a training output folder. The page holds the newest completions, stands alone and needs no server.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jinja2

from overlay.action.action import parse_action
from overlay.action.match import match
from overlay.errors import DataError
from overlay.pages.drawing import screen, shape
from overlay.training.rollout_file import FOLDER, read

SIDE = 640  # pixels of an embedded screen's longer side


def card(record: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one record; images by path."""
    answered, gold = parse_action(record["completion"]), parse_action(record["solution"] or "")
    scale = tuple(record.get("coordinate_scale") or (1.0, 1.0))
    shapes = [shape(gold, "gold", scale), shape(answered, "after", scale)]
    return {
        **{
            name: record[name] for name in ("step", "mode", "rewards", "advantage", "completion", "solution", "problem")
        },
        "source": Path(record["source"] or "").name,
        "images": record["image_path"] or [],
        "type": gold.type if gold else "other",
        "answered": answered.type if answered else "none",
        "match": match(answered, gold),
        "shapes": [drawn for drawn in shapes if drawn],
    }


def embedded(paths: list[str]) -> dict[str, dict[str, Any] | None]:
    """Each screen once, by path; None where the file is gone."""
    screens: dict[str, dict[str, Any] | None] = {}
    for path in paths:
        if path not in screens:
            try:
                screens[path] = screen(path, SIDE)
            except DataError:
                screens[path] = None
    return screens


def write_page(run: Path, out: Path, last: int) -> int:
    """Write the page of the `last` newest records (whole steps); returns how many it holds."""
    records = read(run)
    if len(records) > last:
        first = records[-last]["step"]
        whole = [record for record in records if record["step"] > first]
        records = whole or records[-last:]
    cards = [card(record) for record in records]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("overlay.pages"), autoescape=True)
    page = environment.get_template("rollouts.html").render(
        run=run.name, cards=cards, screens=embedded([path for one in cards for path in one["images"]])
    )
    out.write_text(page, encoding="utf-8", errors="replace")  # lone surrogates of hostile completions
    return len(cards)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="training output folder")
    parser.add_argument("--out", type=Path, help="file to write (RUN/rollouts.html)")
    parser.add_argument("--last", type=int, default=300, help="completions on the page, the newest")
    args = parser.parse_args()
    if not list((args.run / FOLDER).glob("rank*.jsonl")):
        print(f"{args.run / FOLDER}: no rollouts; train with --rollout_log_mb above 0", file=sys.stderr)
        return 2
    out = args.out or args.run / "rollouts.html"
    print(f"{out}: {write_page(args.run, out, args.last)} completions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
