"""Score a served model, or a model folder, on a held-out file: answers, metrics, a page.

    python -m overlay.evaluate.score --url http://127.0.0.1:8000/v1 --data held_out.jsonl --images TASKS --out runs/eval
    python -m overlay.evaluate.score --model CHECKPOINT --data ... --images ... --out ...          (make eval)

Answers are kept row by row in `OUT/answers.jsonl`: stopped at any moment, the same command asks for the rest only.
`metrics.json`, `rows.csv` and `report.html` are written at the end. `--compare DIR ...` sets other OUT folders, of the
same rows, against this one.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from openai import OpenAIError
from tqdm import tqdm

from overlay.action.action import parse_action
from overlay.action.space import Space
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_rows
from overlay.data.images import size_of
from overlay.errors import DataError, SettingError
from overlay.evaluate import baselines
from overlay.evaluate import page as score_page
from overlay.metrics import intervals as scores
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.client import Client, asking, settings_of
from overlay.serve.server import served

KEPT = ("prompt", "solution", "coordinate_scale", "image_path", "problem", "source")
ANSWERS, SETTINGS = "answers.jsonl", "settings.json"


def fields_of(problem: str) -> dict[str, Any]:
    """The step's input that ends a question; empty where there is none."""
    start = problem.find('{"')
    while start >= 0:
        try:
            value = json.loads(problem[start:])
            return value if isinstance(value, dict) else {}
        except ValueError:
            start = problem.find('{"', start + 1)
    return {}


def rows_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows to ask, as the trainer would show them, with task, app and position. Raises DataError."""
    space = Space(args.coordinate_space, args.min_pixels, args.max_pixels)
    style = PromptStyle(load_template("zh"), space=space)
    rows = []
    for row in as_rows(load_dataset(args.data, args.images, "gui_action"), style):
        if parse_action(row["solution"]) is None:
            raise DataError(f"{row['source']}: the gold answer is no action: score GUI steps only")
        fields, path = fields_of(row["problem"]), row["image_path"]
        history = fields.get("history_path_all")
        width, height = size_of(path[-1], row["source"]) if path else (1, 1)
        scale = row["coordinate_scale"]
        rows.append({
            **{name: row[name] for name in KEPT},
            "task": Path(path[-1]).parent.name if path else row["source"],
            "app": str(fields.get("app_name") or "unknown"),
            "position": len(history) + 1 if isinstance(history, list) else 1,
            "size": (width * scale[0], height * scale[1]),
            "plan": baselines.plan_step(fields),
        })  # fmt: skip
        if args.limit and len(rows) == args.limit:
            break
    return rows


def key(row: dict[str, Any]) -> str:
    """What an answer belongs to: the prompt and its screens."""
    return hashlib.sha256(json.dumps([row["prompt"], row["image_path"]]).encode()).hexdigest()[:24]


def kept_answers(out: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Answers of an earlier start with the same settings, by key. Raises SettingError when they were others."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / SETTINGS
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in settings if before.get(name) != settings[name]]
        if changed:
            raise SettingError(f"{out} holds answers with another {', '.join(changed)}: choose another --out")
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    answers: dict[str, dict[str, Any]] = {}
    if (out / ANSWERS).exists():
        whole = (out / ANSWERS).read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):  # a line that a killed run cut short
            os.truncate(out / ANSWERS, end)
        for line in whole[:end].splitlines():
            record = json.loads(line)
            answers[record["key"]] = record
    return answers


async def ask_all(client: Client, rows: list[dict[str, Any]], out: Path, concurrency: int) -> list[str]:
    """Ask for `rows`, at most `concurrency` at a time, keeping each answer as it comes; returns what failed."""
    left, failures = iter(rows), []
    with open(out / ANSWERS, "a", encoding="utf-8") as file, tqdm(total=len(rows), desc="answers") as bar:

        async def worker() -> None:
            for row in left:
                start = time.monotonic()
                try:
                    answer = await client.ask(row["prompt"], row["image_path"])
                except (OpenAIError, DataError) as error:
                    failures.append(f"{row['source']}: {error}")
                else:
                    record = {
                        "key": key(row), "completion": answer.completion, "prompt_tokens": answer.prompt_tokens,
                        "seconds": round(time.monotonic() - start, 3),
                    }  # fmt: skip
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                bar.update()

        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return failures


def table(rows: list[dict[str, Any]], completions: list[str]) -> pd.DataFrame:
    """One line for each row: where it is from, and its flags."""
    columns = ("source", "task", "app", "position")
    return pd.DataFrame([
        {name: row[name] for name in columns} | scores.row_flags(text, row["solution"], row["size"])
        for row, text in zip(rows, completions, strict=True)
    ])  # fmt: skip


def summary(rows: list[dict[str, Any]], completions: list[str], compared: list[Path]) -> dict[str, Any]:
    """All that metrics.json holds, with the tables of rows under `_rows`."""
    golds, sizes = [baselines.gold_action(row["solution"]) for row in rows], [row["size"] for row in rows]
    own = table(rows, completions)
    others = {
        "random": baselines.guess(golds, sizes), "majority": baselines.majority(golds, sizes),
        "plan": [row["plan"] for row in rows],
    }  # fmt: skip
    named = {name: table(rows, texts) for name, texts in others.items()}
    comparisons = {}
    for folder in compared:
        if not (folder / "rows.csv").is_file():
            raise SettingError(f"--compare {folder}: no rows.csv there; it is the --out of another score")
        comparisons[folder.name] = asdict(scores.compare(pd.read_csv(folder / "rows.csv"), own))
    comparisons |= {f"baseline {name}": asdict(scores.compare(part, own)) for name, part in named.items()}
    plain = {name: asdict(value) for name, value in scores.overall(own).items()}
    return {
        "rows": len(rows), "tasks": int(own["task"].nunique()), "rules": scores.RULES, "metrics": plain,
        **{f"by_{column}": {value: asdict(part) for value, part in scores.by(own, column).items()}
           for column in ("gold_type", "app", "position")},
        "baselines": {name: {m: asdict(v) for m, v in scores.overall(part).items()} for name, part in named.items()},
        "second_less_first": comparisons, "_rows": own,
    }  # fmt: skip


def finish(rows: list[dict[str, Any]], answers: dict[str, dict[str, Any]], out: Path, compared: list[Path]) -> None:
    """Write metrics.json, rows.csv and report.html, and print the metrics."""
    done = [row for row in rows if key(row) in answers]
    completions = [answers[key(row)]["completion"] for row in done]
    result = summary(done, completions, compared)
    own = result.pop("_rows")
    own.to_csv(out / "rows.csv", index=False)
    (out / "metrics.json").write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")
    score_page.write(out / "report.html", out.name, result, own, done, completions)
    for name, value in result["metrics"].items():
        print(f"{name:46} {scores.Score(**value)}")
    print(f"{out / 'report.html'}")


async def evaluate(args: argparse.Namespace, url: str) -> int:
    """Ask what is missing, then score; status 3 when some rows have no answer."""
    rows = rows_of(args)
    async with Client(settings_of(args, url)) as client:
        identity = {
            "model": client.model, "max_tokens": args.max_tokens, "temperature": args.temperature,
            "structured": args.structured, "coordinate_space": args.coordinate_space,
        }  # fmt: skip
        answers = kept_answers(args.out, identity)
        missing = [row for row in rows if key(row) not in answers]
        if len(missing) < len(rows):
            print(f"{len(rows) - len(missing)} of {len(rows)} rows have their answers already", file=sys.stderr)
        failures = await ask_all(client, missing, args.out, args.concurrency) if missing else []
        answers = kept_answers(args.out, identity)
    if not any(key(row) in answers for row in rows):
        print(f"eval: no row has an answer; the first: {failures[0]}", file=sys.stderr)
        return 3
    finish(rows, answers, args.out, args.compare)
    if failures:
        print(f"eval: {len(failures)} of {len(rows)} rows have no answer and are not counted: start again to ask them. "
              f"The first: {failures[0]}", file=sys.stderr)  # fmt: skip
        return 3
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Score a model on a held-out file.")
    parser.add_argument("--model", type=Path, help="model folder, served for as long as this takes; else --url")
    parser.add_argument("--data", required=True, help="data file(s), separated by ':'")
    parser.add_argument("--images", required=True, help="their image folders, separated by ':'")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="only the first rows; 0: all")
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="OUT folders of other runs on these rows")
    asking(parser)
    args = parser.parse_args()
    if bool(args.model) == bool(args.url):
        print("eval: give either --model (a folder) or --url (a server)", file=sys.stderr)
        return 2
    try:
        if args.url:
            return asyncio.run(evaluate(args, args.url))
        args.name = args.name or str(args.model)
        with served(args.model, args.out / "server.log") as url:
            return asyncio.run(evaluate(args, url))
    except (SettingError, DataError, ValueError) as error:
        print(f"eval: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
