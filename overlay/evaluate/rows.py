"""The rows that a score asks, as a trainer would show them, each with its task and what rules need of its screen."""

import argparse
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from overlay.action.completion import load_json
from overlay.data.dataset import each_row, load_dataset, split_paths
from overlay.data.examples import example_columns
from overlay.data.images import size_of
from overlay.errors import DataError
from overlay.evaluate import baselines
from overlay.evaluate.identity import row_content, screen_digest
from overlay.evaluate.protocols import Protocol
from overlay.metrics.flags import gold_action
from overlay.metrics.rules.step import rows_screen
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input

KEPT = ("prompt", "solution", "coordinate_scale", "screen_size", "image_path", "problem", "source")


@dataclass
class Asked:
    """Rows to ask, and how many were left out, by reason."""

    rows: list[dict[str, Any]]
    left_out: Counter[str]


class Tasks:
    """Names of rows' tasks. A task belongs to its data file: there it is what the row itself says (`task`), else the
    folder of its screens (the first below the image folder; screens may lie in folders of their own) and what is asked.
    """

    def __init__(self, data: str, images: str):
        pairs = zip(split_paths(data), split_paths(images), strict=True)
        self.folders = [(os.path.abspath(file), os.path.abspath(folder)) for file, folder in pairs]
        self.names: dict[tuple[str, ...], str] = {}
        self.seen: Counter[str] = Counter()

    def name(self, row: dict[str, Any], wanted: str) -> str:
        """The task of a row of `overlay.data.dataset` that asks for `wanted`; the file's path is in its name."""
        file = row["source"].rpartition(":")[0]
        if row["task"] is not None:
            return f"{file}:{row['task']}"
        folder = self._folder(row["image"][-1], file) if row["image"] else ""
        if not folder and not wanted:
            return row["source"]
        key = (file, folder, wanted)
        if key not in self.names:
            self.seen[f"{file}:{folder}"] += 1
            number = self.seen[f"{file}:{folder}"]
            self.names[key] = f"{file}:{folder or 'task'}" + (f" ({number})" if number > 1 else "")
        return self.names[key]

    def _folder(self, screen: str, file: str) -> str:
        known = [folder for name, folder in self.folders if name == os.path.abspath(file)]
        below = [os.path.relpath(screen, folder).split(os.sep) for folder in known]
        parts = next((parts for parts in below if parts[0] != os.pardir), below[0])
        return parts[0] if len(parts) > 1 else ""


def step_digest(row: dict[str, Any]) -> str:
    """What two scores are paired by: question, gold and the pixels of the screens, whatever the model's own style."""
    parts = [row["problem"], row["solution"], [screen_digest(path, row["source"]) for path in row["image"]]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def shown_to_the_model(row: dict[str, Any], style: PromptStyle) -> dict[str, Any]:
    """A row of `overlay.data.dataset` as the model is asked for it, and what its answer belongs to (`content`)."""
    columns = example_columns({name: [value] for name, value in row.items()}, style)
    shown = {name: columns[name][0] for name in KEPT}
    return {**shown, "content": row_content(shown["prompt"], shown["image_path"], row["source"])}


def rows_of(args: argparse.Namespace, style: PromptStyle, protocol: Protocol | None = None) -> Asked:
    """The rows of `args.data`, the first `args.limit` that the protocol asks. Raises DataError."""
    dataset, asked = load_dataset(args.data, args.images), Asked([], Counter())
    tasks = Tasks(args.data, args.images)
    for row in each_row(dataset):
        try:
            gold = gold_action(row["solution"])
        except DataError as error:
            raise DataError(f"{row['source']}: the gold answer is no action: score GUI steps only") from error
        fields, said = step_input(row["problem"])[1], load_json(row["solution"])
        description = str(said.get("action_description") or "") if isinstance(said, dict) else ""
        if protocol and (reason := protocol.left_out(gold.type, description)):
            asked.left_out[reason] += 1
            continue
        history = fields.get("history_path_all")
        told = row
        if protocol:
            problem, images = protocol.told(row["problem"], row["image"], description, row["source"])
            told = {**row, "problem": problem, "image": images}
        shown = shown_to_the_model(told, style)
        path, scale = shown["image_path"], tuple(shown["coordinate_scale"])
        asked.rows.append({
            **shown,
            "told": told,
            "digest": step_digest(row),
            "task": tasks.name(row, str(fields.get("task_content") or "")),
            "group": row.get("group") or "",
            "app": str(fields.get("app_name") or "unknown"),
            "position": len(history) + 1 if isinstance(history, list) else 1,
            "screen": rows_screen(row, size_of(path[-1], row["source"]) if path else None, scale, gold),
            "plan": baselines.plan_step(step_input(told["problem"])[1]),
        })  # fmt: skip
        if args.limit and len(asked.rows) == args.limit:
            break
    return asked
