"""A score's answers, asked for at most once and kept row by row, so that a score that was stopped goes on."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from openai import OpenAIError
from tqdm import tqdm

from overlay.errors import DataError, SettingError
from overlay.evaluate.identity import now
from overlay.serve.client import Client

ANSWERS, SETTINGS = "answers.jsonl", "settings.json"
UNSEEN = "not seen; served since "  # and a date
PROBES = 3


class Answers:
    """The answers of one model in `out`, by the content of their rows (`row_content`).

    Other weights' answers stay in the file and are not used; other settings are a SettingError. `digest`: of the
    weights; None when they are a server's and cannot be seen.
    """

    def __init__(self, out: Path, settings: dict[str, Any], digest: str | None):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.settings = out, settings
        before = self._before()
        changed = [name for name in settings if before and before.get(name) != settings[name]]
        if changed:
            raise SettingError(f"{out} holds answers with another {', '.join(changed)}: choose another --out")
        known = str(before.get("weights"))
        self.seen = digest is not None
        self.weights = digest or (known if known.startswith(UNSEEN) else UNSEEN + now())
        self.by_content = self._read()
        self._keep()

    def _before(self) -> dict[str, Any]:
        file = self.out / SETTINGS
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def _keep(self) -> None:
        content = {**self.settings, "weights": self.weights}
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
                    belongs = record.get("weights") == self.weights
                    if belongs:
                        found[record["content"]] = record
                except (ValueError, KeyError, AttributeError) as error:
                    raise DataError(f"{file}:{number}: not an answer ({error}): delete the line") from error
        return found

    def start_anew(self) -> None:
        """Use none of a server's earlier answers: which weights gave them cannot be told."""
        self.weights, self.by_content = UNSEEN + now(), {}
        self._keep()

    async def still_hold(self, client: Client, rows: list[dict[str, Any]]) -> bool:
        """Whether a finished score's answers may be used for more of its rows: a server whose weights cannot be seen
        has to answer a few of the old ones as before. One that gives no answer now has not changed its mind."""
        old = [row for row in rows if row["content"] in self.by_content]
        if self.seen or len(old) == len(rows) or client.settings.temperature:
            return self.seen
        for row in old[:PROBES]:
            try:
                answer = await client.ask(row["prompt"], row["image_path"])
            except (OpenAIError, DataError):
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

    def missing(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that have no answer."""
        return [row for row in rows if row["content"] not in self.by_content]


async def ask_one(client: Client, row: dict[str, Any], answers: Answers) -> str:
    """Ask for a row and keep its answer; returns what failed, empty where nothing did."""
    start = time.monotonic()
    try:
        answer = await client.ask(row["prompt"], row["image_path"])
    except (OpenAIError, DataError) as error:
        return f"{row['source']}: {error}"
    answers.add({
        "content": row["content"], "completion": answer.completion, "prompt_tokens": answer.prompt_tokens,
        "seconds": round(time.monotonic() - start, 3),
    })  # fmt: skip
    return ""


async def ask_all(client: Client, rows: list[dict[str, Any]], answers: Answers, concurrency: int) -> list[str]:
    """Ask for `rows`, at most `concurrency` at a time, keeping each answer as it comes; returns what failed."""
    left, failures = iter(rows), []
    with tqdm(total=len(rows), desc="answers") as bar:

        async def worker() -> None:
            for row in left:
                failures.extend(filter(None, [await ask_one(client, row, answers)]))
                bar.update()

        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return failures
