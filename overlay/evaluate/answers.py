"""A score's answers, asked for at most once and kept row by row, so that a score that was stopped goes on."""

import asyncio
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from openai import OpenAIError
from tqdm import tqdm

from overlay.errors import DataError, SettingError
from overlay.serve.client import Client

ANSWERS, SETTINGS = "answers.jsonl", "settings.json"


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
