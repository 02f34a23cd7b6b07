"""Thinking for rows that have none, by a served model: kept only where its own answer is right.

    python -m overlay.evaluate.think --url http://127.0.0.1:8000/v1 --data rows.jsonl --images TASKS --out runs/think
    python -m overlay.evaluate.think --model MODEL ...                                            (make think)

Each row is asked as in training, with thinking, up to `--tries` times until an answer is right by step success
(`--rule`). What stood in its think part becomes the row's `thinking`, for `make sft`; where that holds coordinates,
which nothing would rescale, or a mark that the chat template takes for its own, the row stays without. Replies are kept
one by one in `OUT/answers.jsonl`, so that a stopped run goes on. `OUT/<data file>` has all rows. The status is 3 when
some replies did not come: start again to ask for them.
"""

import argparse
import asyncio
import re
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

from overlay.action.action import parse_action
from overlay.action.completion import ANSWER_TAG, split
from overlay.action.reserved import holds_reserved
from overlay.checks import at_least
from overlay.errors import Arguments, DataError, Stopped, Unanswered, command
from overlay.evaluate.answers import Answers, ask_all
from overlay.evaluate.asking import answers_of, asked_style, check_several, rows_flags
from overlay.evaluate.columns import add_columns, written_to
from overlay.evaluate.difficulty import samples_of
from overlay.evaluate.rows import Asked, rows_of
from overlay.evaluate.tables import check_judged
from overlay.metrics.flags import gold_action, succeeds
from overlay.metrics.rules import RULE, RULES
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, settings_of
from overlay.serve.server import server_of

NUMBER = r"\d+(?:\.\d+)?"
WHOLE = r"(?!\d{1,3}(?:,\d{3})+(?!\d))"  # no thousands, 12,345
PLACE = re.compile(  # on a screen: a named axis, two numbers in brackets or after a gesture, two side by side
    rf"\b[xy]\d?\s*[=:：]\s*{NUMBER}|坐标\D{{0,3}}{NUMBER}"
    rf"|[\[(（<]\s*{WHOLE}{NUMBER}\s*[,，、;；×x\s]\s*{NUMBER}"
    rf"|(?:\b(?:at|tap|click|press|hold)|点击|点按|长按|位置)\s*{NUMBER}\s*[,，]\s*{NUMBER}"
    rf"|(?<!\d){WHOLE}{NUMBER}\s*[,，、;；]\s*{NUMBER}(?![\d.]|\s*[A-Za-z年月日号])",
    re.IGNORECASE,
)
WRONG, NONE, PLACES = "answer is wrong", "no thinking", "thinking names places"
MARKS = "thinking holds marks of the chat template"


def judged(row: dict[str, Any], text: str, rule: str) -> tuple[str, str]:
    """(thinking of a completion that may be kept, empty for none; why not). Further right actions do not do: `make sft`
    trains on the gold action, to which the thinking has to lead."""
    screen = replace(row["screen"], also=())
    answer = parse_action(text, row.get("answer_format") or ANSWER_TAG)
    if not succeeds(answer, gold_action(row["solution"]), screen, rule):
        return "", WRONG
    thinking = (split(text).think or "").strip()
    if not thinking:
        return "", NONE
    if holds_reserved(thinking):
        return "", MARKS
    return ("", PLACES) if PLACE.search(thinking) else (thinking, "")


def kept(row: dict[str, Any], answers: Answers, tries: int, rule: str) -> tuple[str, str]:
    """The first thinking of a row's replies that may be kept, else why its last reply gave none."""
    why = ""
    for each in samples_of([row], tries):
        if record := answers.by_content.get(each["content"]):
            thinking, why = judged(row, record["completion"], rule)
            if thinking:
                return thinking, ""
    return "", why


def prepare(args: argparse.Namespace) -> tuple[PromptStyle, Asked]:
    """The style and the rows to ask: those that bring no thinking. All that can be refused is, before anyone is
    asked."""
    check_several(args, args.tries, "tries")
    style, told = asked_style(args)
    written_to(args.data, args.out)
    style = replace(style, thinking=True)
    asked = rows_of(args, style)
    bare = Asked([row for row in asked.rows if not row["told"]["thinking"]], asked.left_out)
    if not bare.rows:
        raise DataError(f"{args.data}: no row is without thinking")
    check_judged(bare, args.rule)
    print(f"{told}; {len(bare.rows):,} of {len(asked.rows):,} rows have no thinking", file=sys.stderr)
    return style, bare


async def think(args: argparse.Namespace, url: str, style: PromptStyle, asked: Asked) -> None:
    """Ask, round by round, for the rows that have nothing yet, then write them. Raises Unanswered or Stopped."""
    failures: list[str] = []
    async with Client(settings_of(args, url, style)) as client:
        answers = answers_of(args, client, style)
        for number in range(args.tries):
            left = [row for row in asked.rows if not kept(row, answers, args.tries, args.rule)[0]]
            missing = answers.missing(samples_of(left, args.tries)[number * len(left) : (number + 1) * len(left)])
            if missing and not answers.stopped:
                failures += await ask_all(client, missing, answers, args.concurrency)
    found = [(row, *kept(row, answers, args.tries, args.rule)) for row in asked.rows]
    added = {row["source"]: {"thinking": thinking} for row, thinking, _ in found if thinking}
    copies = written_to(args.data, args.out)
    add_columns(copies, added)
    why = ", ".join(f"{reason} {count:,}" for reason, count in Counter(w for *_, w in found if w).most_common())
    print(f"{len(added):,} of {len(found):,} rows have thinking now{f' ({why})' if why else ''}")
    print("\n".join(map(str, copies.values())))
    if answers.stopped:
        raise Stopped("stopped: start again to ask the rest")
    if failures:
        raise Unanswered(f"{len(failures):,} replies did not come: start again. The first: {failures[0]}")


@command("think", ValueError)
def main(argv: list[str] | None = None) -> int:
    """Ask for what the command line names."""
    parser = Arguments(description="Thinking for rows that have none.")
    rows_flags(parser)
    parser.set_defaults(temperature=1.0)
    parser.add_argument("--tries", type=int, default=4, help="replies of a row until one is right")
    parser.add_argument("--rule", choices=RULES, default=RULE, help="by which an answer is right")
    args = parser.parse_args(argv)
    at_least(args, concurrency=1, limit=0, tries=1)
    style, asked = prepare(args)
    with server_of(args) as url:
        asyncio.run(think(args, url, style, asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
