"""The rows that a score asks, as a trainer would show them, each with its task and what rules need of its screen."""

import argparse
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from overlay.action.completion import load_json
from overlay.action.reserved import MARK
from overlay.data.dataset import each_row, load_dataset
from overlay.data.examples import example_columns
from overlay.data.images import size_of
from overlay.data.tasks import Tasks
from overlay.errors import DataError
from overlay.evaluate import baselines
from overlay.evaluate.identity import row_content, screen_digest
from overlay.evaluate.protocols import Protocol
from overlay.metrics.flags import gold_action
from overlay.metrics.rules.step import rows_screen
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input

FLAGS = "--data", "--images", "a reward method"
KEPT = (
    "prompt", "solution", "also", "coordinate_scale", "screen_size", "image_path", "problem", "source", "answer_format",
)  # fmt: skip


@dataclass
class Asked:
    """Rows to ask, and how many were left out, by reason."""

    rows: list[dict[str, Any]]
    left_out: Counter[str]


def step_digest(row: dict[str, Any]) -> str:
    """What two scores are paired by: question, gold and the pixels of the screens, whatever the model's own style."""
    golds = [row["solution"], *(row.get("also") or ())]  # one gold alone is written as it always was
    own = row["image"][len(row["image"]) - row["problem"].count(MARK) :]
    parts = [row["problem"], *golds, [screen_digest(path, row["source"]) for path in own]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def shown_to_the_model(row: dict[str, Any], style: PromptStyle) -> dict[str, Any]:
    """A row of `overlay.data.dataset` as the model is asked for it, and what its answer belongs to (`content`)."""
    columns = example_columns({name: [value] for name, value in row.items()}, style)
    shown = {name: columns[name][0] for name in KEPT}
    return {**shown, "content": row_content(shown["prompt"], shown["image_path"], row["source"])}


def rows_of(args: argparse.Namespace, style: PromptStyle, protocol: Protocol | None = None) -> Asked:
    """The rows of `args.data`, the first `args.limit` that the protocol asks. Raises DataError."""
    dataset, asked = (
        load_dataset(args.data, args.images, flags=FLAGS, history=style.history_screens, crop=style.history_crop),
        Asked([], Counter()),
    )
    tasks = Tasks(args.data, args.images)
    for row in each_row(dataset):
        try:
            gold, *_ = (gold_action(each) for each in (row["solution"], *row["also"]))
        except DataError as error:
            raise DataError(f"{row['source']}: the gold answer is no action: score GUI steps only") from error
        fields, said = step_input(row["problem"])[1], load_json(row["solution"])
        description = str(said.get("action_description") or "") if isinstance(said, dict) else ""
        if protocol and (reason := protocol.left_out(gold.type, description)):
            asked.left_out[reason] += 1
            continue
        task, position = tasks.place(row)
        told = row
        if protocol:
            problem, images = protocol.told(row["problem"], row["image"], description, row["source"])
            told = {**row, "problem": problem, "image": images}
        shown = shown_to_the_model(told, style)
        path, scale = shown["image_path"], tuple(shown["coordinate_scale"])
        asked.rows.append({
            **shown,
            "told": told,
            "with_thinking": style.thinking,
            "digest": step_digest(row),
            "task": task,
            "group": row.get("group") or "",
            "app": str(fields.get("app_name") or "unknown"),
            "position": position,
            "screen": rows_screen(row, size_of(path[-1], row["source"]) if path else None, scale, gold),
            "plan": baselines.plan_step(step_input(told["problem"])[1]),
        })  # fmt: skip
        if args.limit and len(asked.rows) == args.limit:
            break
    return asked
