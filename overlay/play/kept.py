"""The episodes of a folder, kept line by line with their screens, so that playing goes on where it was stopped."""

import argparse
import json
from pathlib import Path
from typing import Any

from overlay.errors import SettingError
from overlay.evaluate.answers import chosen_of
from overlay.evaluate.identity import combined, weights_digest
from overlay.prompt.style import PromptStyle
from overlay.serve.style import folder_of

EPISODES = "episodes.jsonl"
Episode = dict[str, Any]


def settings_of(args: argparse.Namespace, style: PromptStyle) -> dict[str, Any]:
    """What an episode depends on beside its task and seed; `weights` None where a server's cannot be seen."""
    folder = folder_of(args)
    return {
        "model": args.name or str(args.model or ""), "weights": weights_digest(folder) if folder else None,
        "pages": args.pages, "extra": args.extra,
        "prompt": combined([
            style.template, style.question_template, style.thinking, style.images_first, style.answer_format,
            style.history_screens, style.history_crop,
        ]),
        **chosen_of(args, style),
    }  # fmt: skip


def line_of(one: Episode) -> str:
    """An episode's line."""
    return json.dumps(one) + "\n"


def read(out: Path, settings: dict[str, Any]) -> list[Episode]:
    """The episodes in a folder that were played to their end with these settings; a line that was cut short is none.
    SettingError where they are of other settings."""
    file, found = out / EPISODES, list[Episode]()
    if not file.is_file():
        return []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        before = one.get("settings") if isinstance(one, dict) else None
        if not isinstance(before, dict):
            raise SettingError(f"{out} holds episodes of an earlier version: choose another --out")
        changed = [name for name in settings if before.get(name) != settings[name]]
        if changed:
            raise SettingError(f"{out} holds episodes with another {', '.join(changed)}: choose another --out")
        found += [one] if not one["unanswered"] else []
    return found
