"""A score's answers, asked for at most once and kept row by row, so that a score that was stopped goes on."""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tqdm import tqdm

from overlay.chat import NoAnswer
from overlay.errors import DataError, SettingError
from overlay.evaluate.identity import now
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client

ANSWERS, SETTINGS = "answers.jsonl", "settings.json"
UNSEEN = "not seen; served since "  # and a date
PROBES = 3
STOPPED, BAD_IMAGE = "stopped before they were asked", "an image or prompt that cannot be sent"


def chosen_of(args: argparse.Namespace, style: PromptStyle) -> dict[str, Any]:
    """What answers depend on beside weights and prompts: flags of `asking`, and the limits that make numbers mean
    something in `resized`."""
    chosen = {name: getattr(args, name) for name in ("max_tokens", "temperature", "structured")}
    space = style.space
    return chosen | {
        "coordinate_space": space.name, "min_pixels": space.min_pixels, "max_pixels": space.max_pixels,
    }  # fmt: skip


class Answers:
    """The answers of one model in `out`, by the content of their rows (`row_content`).

    Other weights' answers stay in the file and are not used; other settings are a SettingError. `digest`: of the
    weights; None when they are a server's and cannot be seen. `unanswered`: how many rows got no answer, by reason;
    `stopped`: whether Ctrl-C ended the asking.
    """

    def __init__(self, out: Path, settings: dict[str, Any], digest: str | None):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.settings = out, settings
        self.reasons: dict[str, str] = {}  # of rows without an answer, by content
        self.unanswered: Counter[str] = Counter()
        self.stopped = False
        before = self._before()
        changed = [name for name in settings if before and before.get(name) != settings[name]]
        if changed:
            raise SettingError(f"{out} holds answers with another {', '.join(changed)}: choose another --out")
        known = str(before.get("weights"))
        self.seen, self.goes_on = digest is not None, bool(before.get("stopped"))
        self.weights = digest or (known if known.startswith(UNSEEN) else UNSEEN + now())
        self.by_content = self._read()
        self._keep()

    def _before(self) -> dict[str, Any]:
        file = self.out / SETTINGS
        if not file.exists():
            return {}
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file}: not JSON ({error}): choose another --out, or delete it with {ANSWERS}") from error
        if not isinstance(before, dict):
            raise DataError(f"{file}: not the settings of a score: choose another --out")
        return before

    def _keep(self) -> None:
        content = {**self.settings, "weights": self.weights, "stopped": self.stopped}
        (self.out / SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    def _read(self) -> dict[str, dict[str, Any]]:
        file, found = self.out / ANSWERS, {}
        if file.exists():
            whole = file.read_bytes()
            end = whole.rfind(b"\n") + 1
            if end < len(whole):  # a line that a killed run cut short
                os.truncate(file, end)
            for number, line in enumerate(whole[:end].splitlines(), 1):
                try:
                    record = json.loads(line)
                    content, completion = record["content"], record["completion"]
                    if not isinstance(content, str) or not isinstance(completion, str):
                        raise TypeError("content and completion are no text")
                    if record.get("weights") == self.weights:
                        found[content] = record
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise DataError(f"{file}:{number}: not an answer ({error}): delete the line") from error
        return found

    def start_anew(self) -> None:
        """Use none of a server's earlier answers: which weights gave them cannot be told."""
        self.weights, self.by_content = UNSEEN + now(), {}
        self._keep()

    async def still_hold(self, client: Client, rows: list[dict[str, Any]]) -> bool:
        """Whether a finished score's answers may be used for more of its rows: a server whose weights cannot be seen
        has to answer a few of the old ones as before. One that gives no answer now has not changed its mind; a score
        that Ctrl-C ended was not finished."""
        if self.goes_on:
            return True
        old = [row for row in rows if row["content"] in self.by_content]
        if self.seen or len(old) == len(rows) or client.settings.temperature:
            return self.seen
        for row in old[:PROBES]:
            try:
                answer = await client.ask(row["prompt"], row["image_path"])
            except (NoAnswer, DataError):
                return True
            if answer.completion != self.by_content[row["content"]]["completion"]:
                return False
        return True

    def add(self, record: dict[str, Any]) -> None:
        """Keep an answer, at once."""
        record = {**record, "weights": self.weights}
        self.by_content[record["content"]] = record
        with open(self.out / ANSWERS, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def stop(self) -> None:
        """Note that the asking was ended; the same command goes on."""
        self.stopped = True
        self._keep()

    def missing(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that have no answer."""
        return [row for row in rows if row["content"] not in self.by_content]

    def account(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """For metrics.json: rows without an answer by reason, and the share of answers (of `n` that say) that reached
        --max_tokens."""
        ends = [self.by_content[row["content"]].get("finish") for row in rows if row["content"] in self.by_content]
        told = [end == "length" for end in ends if end]
        share = sum(told) / len(told) if told else None
        return {"unanswered": dict(self.unanswered.most_common()), "truncated": {"value": share, "n": len(told)}}


async def ask_one(client: Client, row: dict[str, Any], answers: Answers) -> str:
    """Ask for a row and keep its answer; returns what failed, empty where nothing did."""
    start = time.monotonic()
    try:
        answer = await client.ask(row["prompt"], row["image_path"])
    except (NoAnswer, DataError) as error:
        answers.reasons[row["content"]] = error.reason if isinstance(error, NoAnswer) else BAD_IMAGE
        return f"{row['source']}: {error}"
    answers.add({
        "content": row["content"], "completion": answer.completion, "prompt_tokens": answer.prompt_tokens,
        "finish": answer.finish, "seconds": round(time.monotonic() - start, 3),
    })  # fmt: skip
    return ""


async def side_by_side(worker: Callable[[], Coroutine], concurrency: int, answers: Answers) -> None:
    """`concurrency` workers until all are done, or until Ctrl-C: `answers` note that."""
    try:
        await asyncio.gather(*(worker() for _ in range(concurrency)))
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()  # pyright: ignore[reportOptionalMemberAccess] this runs in a task
        answers.stop()


async def ask_all(client: Client, rows: list[dict[str, Any]], answers: Answers, concurrency: int) -> list[str]:
    """Ask for `rows`, at most `concurrency` at a time, keeping each answer as it comes; returns what failed. Ctrl-C
    ends the asking, and the score goes on with what there is."""
    left, failures = iter(rows), []
    with tqdm(total=len(rows), desc="answers") as bar:

        async def worker() -> None:
            for row in left:
                failures.extend(filter(None, [await ask_one(client, row, answers)]))
                bar.update()

        await side_by_side(worker, concurrency, answers)
    answers.unanswered = Counter(answers.reasons.get(row["content"], STOPPED) for row in answers.missing(rows))
    return failures
