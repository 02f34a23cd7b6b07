"""Which rows belong together: scores and splits count by task, and episodes are its steps in order."""

import os
from collections import Counter
from typing import Any

from datasets import Dataset

from overlay.data.dataset import each_row, split_paths
from overlay.prompt.history import step_of
from overlay.prompt.template import step_input


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

    def place(self, row: dict[str, Any]) -> tuple[str, int]:
        """(name of a row's task, its step from 1: one more than the steps in its history)."""
        wanted = step_input(row["problem"])[1].get("task_content")
        return self.name(row, str(wanted or "")), step_of(row["problem"])

    def _folder(self, screen: str, file: str) -> str:
        known = [folder for name, folder in self.folders if name == os.path.abspath(file)]
        below = [os.path.relpath(screen, folder).split(os.sep) for folder in known]
        parts = next((parts for parts in below if parts[0] != os.pardir), below[0])
        return parts[0] if len(parts) > 1 else ""


def episodes_of(rows: Dataset, data: str, images: str) -> list[list[tuple[int, int]]]:
    """The rows of each task as (number of the row, step), by step; tasks in the order in which they come. A step that
    stands twice makes a second episode."""
    tasks, seen = Tasks(data, images), Counter[tuple[str, int]]()
    found: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for number, row in enumerate(each_row(rows.select_columns(["problem", "image", "task", "source"]))):
        place = tasks.place(row)
        found.setdefault((place[0], seen[place]), []).append((number, place[1]))
        seen[place] += 1
    return [sorted(steps, key=lambda step: step[1]) for steps in found.values()]
