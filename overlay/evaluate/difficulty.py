"""How hard each row is for a model: the share of k samples that are right (pass@k's rows), as a column of the rows.

    python -m overlay.evaluate.difficulty --model MODEL --data rows.jsonl --images TASKS --out runs/difficulty
    python -m overlay.evaluate.difficulty --url http://127.0.0.1:8000/v1 ...                     (make difficulty)

A sample is right by step success (`--rule`). Samples are kept one by one in `OUT/answers.jsonl`: stopped at any moment,
the same command asks for the rest only, and with a larger `--samples` for the further ones. `OUT/<data file>` has the
column `difficulty` (1: always right), for `--difficulty` and `--curriculum_epochs` of training; `OUT/difficulty.html`
shows how it is spread. The status is 3 when some samples have no answer: start again to ask them.
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from matplotlib import pyplot as plt

from overlay.action.action import parse_action
from overlay.checks import at_least
from overlay.errors import Arguments, DataError, SettingError, Stopped, Unanswered, command
from overlay.evaluate.answers import Answers, ask_all
from overlay.evaluate.asking import answers_of, asked_style, check_several, rows_flags
from overlay.evaluate.columns import add_columns, written_to
from overlay.evaluate.identity import now
from overlay.evaluate.rows import Asked, rows_of
from overlay.evaluate.tables import check_judged
from overlay.metrics.flags import gold_action, succeeds
from overlay.metrics.rules import RULE, RULES
from overlay.pages.figures import svg
from overlay.pages.render import write_page
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, settings_of
from overlay.serve.server import server_of
from overlay.serve.style import of_rows

FACTS, PAGE = "difficulty.json", "difficulty.html"
SURE = 20  # rows whose samples are all alike before a server is said not to sample


@dataclass(frozen=True)
class Sampled:
    """A row's verdicts, one for each sample that was answered."""

    row: dict[str, Any]
    right: list[bool]

    @property
    def share(self) -> float:
        """Of the samples that are right, as the column has it."""
        return sum(self.right) / len(self.right)


def samples_of(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Each row `count` times, with a content of its own each time; samples are asked for round by round, so that a
    stopped run has all rows alike."""
    return [{**row, "content": f"{row['content']}-{n}"} for n in range(count) for row in rows]


def judged(rows: list[dict[str, Any]], answers: Answers, count: int, rule: str) -> list[Sampled]:
    """Rows that the rule can judge and that have a sample, with the verdicts of up to `count`."""
    found = []
    for row in rows:
        kept = (answers.by_content.get(each["content"]) for each in samples_of([row], count))
        gold = gold_action(row["solution"])
        texts = [record["completion"] for record in kept if record]
        verdicts = [succeeds(parse_action(text, row["answer_format"]), gold, row["screen"], rule) for text in texts]
        if right := [verdict for verdict in verdicts if verdict is not None]:
            found.append(Sampled(row, right))
    return found


def check_sampled(rows: list[dict[str, Any]], answers: Answers, count: int, temperature: float) -> None:
    """SettingError where many rows have several samples, and each row's are all the same: that is no sampling."""
    found = []
    for row in rows:
        kept = [answers.by_content.get(each["content"]) for each in samples_of([row], count)]
        texts = [record["completion"] for record in kept if record]
        found += [len(set(texts))] if len(texts) > 1 else []
    if len(found) >= SURE and max(found) == 1:
        raise SettingError(
            f"all samples of each of {len(found):,} rows are the same at --temperature {temperature:g}: the server "
            "does not sample (transformers serve by itself only does where the model's generation_config.json has "
            "do_sample true: make serve), or the model has but one answer to each; no difficulty is written"
        )


def table(sampled: list[Sampled]) -> list[dict[str, Any]]:
    """All rows, then those of each gold type: how many, pass@1 (the mean share), pass@k, never and always right."""
    parts = defaultdict(list, {"all": sampled})
    for each in sampled:
        parts[gold_action(each.row["solution"]).type].append(each)
    return [
        {
            "part": part, "rows": len(own), "pass_1": sum(each.share for each in own) / len(own),
            "pass_k": sum(any(each.right) for each in own) / len(own),
            "never": sum(not any(each.right) for each in own), "always": sum(all(each.right) for each in own),
        }
        for part, own in parts.items()
    ]  # fmt: skip


def histogram(sampled: list[Sampled], count: int) -> str:
    """Rows by their share of right samples, as inline SVG; the ends, where success ranks nothing, are grey."""
    shares = [round(each.share * count) for each in sampled]
    figure, axes = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
    heights = [shares.count(n) for n in range(count + 1)]
    colours = ["#b9bec5" if n in (0, count) else "#8fb3e6" for n in range(count + 1)]
    bars = axes.bar([n / count for n in range(count + 1)], heights, 0.85 / count, color=colours)
    axes.bar_label(bars, fontsize=8)
    axes.locator_params(axis="y", integer=True)
    axes.set(xlabel=f"difficulty: share of {count} samples that are right", ylabel="rows", xlim=(-0.08, 1.08))
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def finish(args: argparse.Namespace, sampled: list[Sampled], about: dict[str, Any]) -> None:
    """Write the rows with their column, the facts and the page, and say what there is."""
    add_columns(written_to(args.data, args.out), {each.row["source"]: {"difficulty": each.share} for each in sampled})
    parts = table(sampled)
    facts = about | {"samples": args.samples, "rule": args.rule, "parts": parts}
    (args.out / FACTS).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    figure = histogram(sampled, args.samples)
    write_page(args.out / PAGE, "difficulty.html", name=args.out.name, facts=facts, figure=figure)
    whole = parts[0]
    print(
        f"{whole['rows']:,} rows, {args.samples} samples each: pass@1 {whole['pass_1']:.3f}, "
        f"pass@{args.samples} {whole['pass_k']:.3f}; never right {whole['never']:,}, always {whole['always']:,}"
    )
    print("\n".join(str(copy) for copy in (*written_to(args.data, args.out).values(), args.out / PAGE)))


def prepare(args: argparse.Namespace) -> tuple[PromptStyle, Asked]:
    """The style and the rows to ask. All that can be refused is, before a server is started or asked."""
    check_several(args, args.samples, "samples")
    style, told = asked_style(args)
    written_to(args.data, args.out)
    asked = rows_of(args, style)
    check_judged(asked, args.rule)
    print(told + of_rows(style, (row["problem"] for row in asked.rows)), file=sys.stderr)
    return style, asked


async def sample(args: argparse.Namespace, url: str, style: PromptStyle, asked: Asked) -> None:
    """Ask for the samples that are missing, then write what they say. Raises Unanswered or Stopped."""
    async with Client(settings_of(args, url, style)) as client:
        answers = answers_of(args, client, style)
        every = samples_of(asked.rows, args.samples)
        missing = answers.missing(every)
        if len(missing) < len(every):
            unseen = "" if answers.seen else ", taken for this server's, whose weights cannot be seen from here"
            print(f"{len(every) - len(missing):,} of {len(every):,} samples are there already{unseen}", file=sys.stderr)
        failures = await ask_all(client, missing, answers, args.concurrency) if missing else []
    sampled = judged(asked.rows, answers, args.samples, args.rule)
    left = len(answers.missing(every))
    if answers.stopped:
        raise Stopped(f"stopped with {len(every) - left:,} of {len(every):,} samples: start again to ask the rest")
    if not sampled:
        raise Unanswered(f"no row has an answer; the first: {failures[0]}")
    if args.temperature > 0:
        check_sampled(asked.rows, answers, args.samples, args.temperature)
    about = {"model": client.model, "weights": answers.weights, "date": now(), "temperature": args.temperature}
    finish(args, sampled, about)
    if left:
        raise Unanswered(f"{left:,} of {len(every):,} samples have no answer: start again. The first: {failures[0]}")


@command("difficulty", ValueError)
def main(argv: list[str] | None = None) -> int:
    """Sample what the command line names."""
    parser = Arguments(description="How hard each row is for a model.")
    rows_flags(parser)
    parser.set_defaults(temperature=1.0)
    parser.add_argument("--samples", type=int, default=8, help="k: answers asked for each row")
    parser.add_argument("--rule", choices=RULES, default=RULE, help="by which a sample is right")
    args = parser.parse_args(argv)
    at_least(args, concurrency=1, limit=0, samples=1)
    style, asked = prepare(args)
    if not asked.rows:
        raise DataError(f"{args.data}: no row to ask")
    with server_of(args) as url:
        asyncio.run(sample(args, url, style, asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
