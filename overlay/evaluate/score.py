"""Score a served model, or a model folder, on a held-out file: answers, metrics, a page.

    python -m overlay.evaluate.score --url http://127.0.0.1:8000/v1 --data held_out.jsonl --images TASKS --out runs/eval
    python -m overlay.evaluate.score --model CHECKPOINT --data ... --images ... --out ...          (make eval)

Answers are kept row by row in `OUT/answers.jsonl`: stopped at any moment, the same command asks for the rest only.
`metrics.json`, `rows.csv` and `report.html` are written at the end. `--compare DIR ...` sets other OUT folders, of the
same rows, against this one. The status is 3 when some rows have no answer.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from overlay.data.dataset import each_row, load_dataset
from overlay.data.examples import as_rows
from overlay.data.images import size_of
from overlay.errors import DataError, SettingError, Unanswered, command
from overlay.evaluate import baselines, page
from overlay.evaluate.answers import Answers, ask_all
from overlay.evaluate.identity import provenance, row_content, weights_digest
from overlay.metrics import intervals
from overlay.metrics.flags import RULE, RULES, gold_action, row_flags, ruled
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input
from overlay.serve.client import Client, asking, settings_of
from overlay.serve.server import server_of
from overlay.serve.style import folder_of, style_flags, style_of

METRICS = "metrics.json"
KEPT = ("prompt", "solution", "coordinate_scale", "image_path", "problem", "source")


def rows_of(args: argparse.Namespace, style: PromptStyle) -> list[dict[str, Any]]:
    """The rows to ask, as the trainer would show them, with task, app and position. Raises DataError."""
    rows = []
    for row in each_row(as_rows(load_dataset(args.data, args.images, "gui_action"), style)):
        try:
            gold_action(row["solution"])
        except DataError as error:
            raise DataError(f"{row['source']}: the gold answer is no action: score GUI steps only") from error
        fields, path = step_input(row["problem"])[1], row["image_path"]
        history = fields.get("history_path_all")
        width, height = size_of(path[-1], row["source"]) if path else (1, 1)
        scale = row["coordinate_scale"]
        rows.append({
            **{name: row[name] for name in KEPT},
            "content": row_content(row["prompt"], path, row["source"]),
            "task": Path(path[-1]).parent.name if path else row["source"],
            "app": str(fields.get("app_name") or "unknown"),
            "position": len(history) + 1 if isinstance(history, list) else 1,
            "size": (width * scale[0], height * scale[1]),
            "plan": baselines.plan_step(fields),
        })  # fmt: skip
        if args.limit and len(rows) == args.limit:
            break
    return rows


def table(rows: list[dict[str, Any]], completions: list[str]) -> pd.DataFrame:
    """One line for each row: where it is from, and its flags."""
    columns = ("content", "source", "task", "app", "position")
    return pd.DataFrame([
        {name: row[name] for name in columns} | row_flags(text, row["solution"], row["size"])
        for row, text in zip(rows, completions, strict=True)
    ])  # fmt: skip


def read_table(folder: Path) -> pd.DataFrame:
    """The table of an earlier score. Raises SettingError when there is none."""
    if not (folder / "rows.csv").is_file():
        raise SettingError(f"--compare {folder}: no rows.csv there; it is the --out of another score")
    # Scores written before rows.csv left the default rule out of its columns name it in each.
    return pd.read_csv(folder / "rows.csv").rename(columns=lambda name: name.removesuffix(f" ({RULE})"))


def summary(rows: list[dict[str, Any]], completions: list[str], compared: list[Path]) -> dict[str, Any]:
    """All that metrics.json holds, with the tables of rows under `_rows`."""
    golds, sizes = [gold_action(row["solution"]) for row in rows], [row["size"] for row in rows]
    own = table(rows, completions)
    others = {
        "random": baselines.guess(sizes), "majority": baselines.majority(golds, sizes),
        "plan": [row["plan"] for row in rows],
    }  # fmt: skip
    named = {name: table(rows, texts) for name, texts in others.items()}
    runs = {folder.name: read_table(folder) for folder in compared}
    runs |= {f"baseline {name}": part for name, part in named.items()}

    def plain(scores: dict[str, intervals.Score]) -> dict[str, Any]:
        return {name: asdict(value) for name, value in scores.items()}

    return {
        "rows": len(rows), "tasks": len(set(own["task"])), "rule": RULE, "rules": RULES,
        "metrics": plain(intervals.overall(own)),
        **{f"by_{column}": plain(intervals.by(own, column)) for column in ("gold_type", "app", "position")},
        "baselines": {name: plain(intervals.overall(part)) for name, part in named.items()},
        "second_less_first": {name: asdict(intervals.compare(part, own)) for name, part in runs.items()},
        "_rows": own,
    }  # fmt: skip


def finish(rows: list[dict[str, Any]], answers: Answers, about: dict[str, Any], args: argparse.Namespace) -> None:
    """Write metrics.json, rows.csv and report.html, and print the metrics."""
    out: Path = args.out
    completions = [answers.by_content[row["content"]]["completion"] for row in rows]
    result = {"about": about, **summary(rows, completions, args.compare)}
    own = result.pop("_rows")
    own.to_csv(out / "rows.csv", index=False)
    (out / METRICS).write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")
    page.write(out / "report.html", out.name, result, own, rows, completions)
    for name, value in result["metrics"].items():
        print(f"{ruled(name):46} {intervals.Score(**value)}")
    print(f"{out / 'report.html'}")


async def evaluate(args: argparse.Namespace, url: str) -> None:
    """Ask what is missing, then score. Raises Unanswered when some rows have no answer."""
    for folder in args.compare:
        read_table(folder)  # refused before hours of answers, not after
    style, told = style_of(args)
    rows, folder = rows_of(args, style), folder_of(args)
    print(told, file=sys.stderr)
    digest = weights_digest(folder) if folder else None
    async with Client(settings_of(args, url)) as client:
        asked = {name: getattr(args, name) for name in ("max_tokens", "temperature", "structured")}
        space = {"coordinate_space": style.space.name}
        answers = Answers(args.out, {"model": client.model, **asked, **space}, digest)
        if (args.out / METRICS).is_file() and not await answers.still_hold(client, rows):
            print(f"{args.out}: the server's weights cannot be seen, so all rows are asked anew", file=sys.stderr)
            answers.start_anew()
        missing = answers.missing(rows)
        if len(missing) < len(rows):
            print(f"{len(rows) - len(missing)} of {len(rows)} rows have their answers already", file=sys.stderr)
        failures = await ask_all(client, missing, answers, args.concurrency) if missing else []
    done = [row for row in rows if row["content"] in answers.by_content]
    if not done:
        raise Unanswered(f"no row has an answer; the first: {failures[0]}")
    about = provenance(args, style, client.model, answers.weights, [row["content"] for row in rows])
    finish(done, answers, about, args)
    if failures:
        raise Unanswered(
            f"{len(failures)} of {len(rows)} rows have no answer and are not counted: start again to ask them. "
            f"The first: {failures[0]}"
        )


@command("eval", ValueError)
def main(argv: list[str] | None = None) -> int:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(description="Score a model on a held-out file.")
    parser.add_argument("--data", required=True, help="data file(s), separated by ':'")
    parser.add_argument("--images", required=True, help="their image folders, separated by ':'")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="only the first rows; 0: all")
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="OUT folders of other runs on these rows")
    asking(parser, or_folder=True)
    style_flags(parser)
    args = parser.parse_args(argv)
    with server_of(args) as url:
        asyncio.run(evaluate(args, url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
