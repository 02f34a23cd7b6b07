"""Score a served model, or a model folder, on a held-out file: answers, metrics, a page.

    python -m overlay.evaluate.score --url http://127.0.0.1:8000/v1 --data held_out.jsonl --images TASKS --out runs/eval
    python -m overlay.evaluate.score --model CHECKPOINT --data ... --images ... --out ...          (make eval)

Answers are kept row by row in `OUT/answers.jsonl`: stopped at any moment, the same command asks for the rest only.
`metrics.json`, `rows.csv` and `report.html` are written at the end, with every rule of `overlay.metrics.rules`.
`--protocol NAME` asks and counts as published work does (`overlay.evaluate.protocols`). `--compare DIR ...` sets other
OUT folders against this one, row by row. The status is 3 when some rows have no answer, 130 when Ctrl-C ended the
asking: the figures are then of the rows that have one.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from overlay.action.completion import whole_text
from overlay.checks import at_least
from overlay.errors import Arguments, DataError, Stopped, Unanswered, command
from overlay.evaluate import page
from overlay.evaluate.answers import Answers, ask_all
from overlay.evaluate.asking import answers_of, asked_style, rows_flags
from overlay.evaluate.episodes import RIGHT, play_out
from overlay.evaluate.identity import provenance
from overlay.evaluate.protocols import PROTOCOLS
from overlay.evaluate.rows import Asked, rows_of
from overlay.evaluate.tables import check_judged, read_table, summary
from overlay.metrics.episodes import curve
from overlay.metrics.flags import ruled, under
from overlay.metrics.intervals import Score, episodes, verdicts_of
from overlay.metrics.rules import RULE, RULES
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, settings_of
from overlay.serve.server import server_of
from overlay.serve.style import of_rows

METRICS = "metrics.json"


def finish(
    asked: Asked, answers: Answers, about: dict[str, Any], args: argparse.Namespace, own_words: Any = None
) -> None:
    """Write metrics.json, rows.csv and report.html, and print the metrics; `own_words`: the table of `play_out`."""
    out, rows = args.out, asked.rows
    completions = [answers.by_content[row["content"]]["completion"] for row in rows]
    judged = summary(asked, completions, args.compare, args.rule, args.protocol)
    result = {"about": about, **answers.account(rows), **judged}
    if own_words is not None:
        result["sop"] = {name: asdict(score) for name, score in episodes(own_words, RIGHT).items()}
    own = result.pop("_rows")
    result["curves"] = {"the rows' history": _curve(own, under(args.rule))}
    if own_words is not None:
        result["curves"]["its own words (SOP)"] = _curve(own_words, RIGHT)
    own.to_csv(out / "rows.csv", index=False, errors="replace")
    (out / METRICS).write_text(whole_text(json.dumps(result, indent=2, ensure_ascii=False)), encoding="utf-8")
    page.write(out / "report.html", out.name, result, own, rows, completions)
    for name, value in result["metrics"].items():
        print(f"{ruled(name):46} {Score(**value)}")
    for name, figures in result["rules"].items():
        if name != RULE and figures["steps"]:
            print(f"{ruled('step_success_rate', name):46} {Score(**figures['steps'])}")
    for name, value in result.get("sop", {}).items():
        print(f"{'SOP ' + ruled(name, args.rule):46} {Score(**value)}")
    for name, other in result["second_less_first"].items():
        if other["not_in_first"] or other["not_in_second"]:
            print(
                f"{name}: {other['n']} rows are in both; {other['not_in_first']} only here, {other['not_in_second']} "
                f"only there: {', '.join(other['not_in_both'][:3])}, ...",
                file=sys.stderr,
            )
    print(f"{out / 'report.html'}")


def _curve(rows: pd.DataFrame, metric: str) -> list[dict[str, float]]:
    """Of 1, 2, ... steps: the share of tasks whose first steps are all right, and over how many."""
    return [share._asdict() for share in curve(list(verdicts_of(rows, metric).values()))]


def prepare(args: argparse.Namespace) -> tuple[PromptStyle, Asked]:
    """The style and the rows to ask. All that can be refused is, before a server is started or asked."""
    for folder in args.compare:
        read_table(folder, args.rule)
    style, told = asked_style(args)
    asked = rows_of(args, style, PROTOCOLS.get(args.protocol))
    if not asked.rows:
        raise DataError(f"{args.data}: no row to ask: {', '.join(asked.left_out)}")
    check_judged(asked, args.rule)
    print(told + of_rows(style, (row["told"]["problem"] for row in asked.rows)), file=sys.stderr)
    return style, asked


async def evaluate(args: argparse.Namespace, url: str, style: PromptStyle, asked: Asked) -> None:
    """Ask what is missing, then score. Raises Unanswered when some rows have no answer."""
    rows = asked.rows
    async with Client(settings_of(args, url, style)) as client:
        answers = answers_of(args, client, style)
        if (args.out / METRICS).is_file() and not await answers.still_hold(client, rows):
            print(f"{args.out}: the server's weights cannot be seen, so all rows are asked anew", file=sys.stderr)
            answers.start_anew()
        missing = answers.missing(rows)
        if len(missing) < len(rows):
            print(f"{len(rows) - len(missing)} of {len(rows)} rows have their answers already", file=sys.stderr)
        failures = await ask_all(client, missing, answers, args.concurrency) if missing else []
        own_words, cut = None, []
        if args.sop and not answers.stopped:
            own_words, cut = await play_out(client, rows, answers, style, args.rule, args.concurrency)
    done = [row for row in rows if row["content"] in answers.by_content]
    if not done:
        raise (
            Stopped("no row has an answer")
            if answers.stopped
            else Unanswered(f"no row has an answer; the first: {failures[0]}")
        )
    about = provenance(args, style, client.model, answers.weights, [row["content"] for row in rows])
    finish(Asked(done, asked.left_out), answers, about, args, None if answers.stopped else own_words)
    if answers.stopped:
        raise Stopped(
            f"stopped with {len(done)} of {len(rows)} answers, which were scored: start again to ask the rest"
        )
    if answers.unanswered:
        kinds = ", ".join(f"{reason} {count}" for reason, count in answers.unanswered.most_common())
        raise Unanswered(
            f"{answers.unanswered.total()} of {len(rows)} rows have no answer and are not counted ({kinds}): start "
            f"again to ask them. The first: {failures[0]}"
        )
    if cut:
        raise Unanswered(f"{len(cut)} tasks have no SOP for want of an answer: start again. The first: {cut[0]}")


@command("eval", ValueError)
def main(argv: list[str] | None = None) -> int:
    """Score what the command line names."""
    parser = Arguments(description="Score a model on a held-out file.")
    rows_flags(parser)
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="OUT folders of other runs on these rows")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="ask and count as published work does")
    parser.add_argument("--rule", choices=RULES, help="the rule of the headline (default: the protocol's, else box)")
    parser.add_argument("--sop", action="store_true", help="ask each task again on the model's own words (SOP)")
    args = parser.parse_args(argv)
    at_least(args, concurrency=1, limit=0)
    args.rule = args.rule or (PROTOCOLS[args.protocol].rule if args.protocol else RULE)
    style, asked = prepare(args)
    with server_of(args) as url:
        asyncio.run(evaluate(args, url, style, asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
