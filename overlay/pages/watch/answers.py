"""The newest completions of a run and what all of them got right, from the rollout files of its ranks as they grow."""

import json
from array import array
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

from overlay.action.action import parse_action
from overlay.action.completion import ANSWER_TAG
from overlay.metrics.flags import measure
from overlay.metrics.rules.step import screen_of
from overlay.pages.groups import groups
from overlay.pages.watch.curves import Line
from overlay.training.rollout_file import FOLDER, NEEDED
from overlay.training.run_files import Tail

BACK = 24_000_000  # bytes of all ranks' files together that the first look reads: a run may have kept gigabytes
SHOWN = 24  # groups
KEPT = 512  # records of a step of one rank: an evaluation has one for each of its rows
RATES = ("step_success_rate", "grounding_accuracy", "action_type_accuracy", "format_rate")
Counts = dict[str, tuple[float, int]]  # metric → right, rows


class Rank:
    """One rank's file. `newest`: mode → its last step and that step's records; `rates`: counts of training by step."""

    def __init__(self, path: Path, last: int):
        self.tail, self.number = Tail(path, last), int(path.stem.removeprefix("rank"))
        self.step = -1
        self.newest: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self.rates: dict[int, Counts] = {}

    def look(self, thinking: bool, answer_format: str = ANSWER_TAG) -> None:
        """Read on; `thinking`: whether prompts ask for it; `answer_format`: that they ask for.
        A step that is before the last one: the run went on from a checkpoint, and what came after that is no part of it
        any more."""
        fresh: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for line in self.tail.lines()[1]:  # a full file makes room for a new one: what it said still holds
            record = record_of(line)
            if record is None:
                continue
            step, mode = record["step"], record["mode"]
            if step < self.step:
                self.rates = {at: counts for at, counts in self.rates.items() if at < step}
                fresh = defaultdict(list, {at: some for at, some in fresh.items() if at < step})
                self.newest = {of: (at, some) for of, (at, some) in self.newest.items() if at < step}
            self.step = step
            if self.newest.get(mode, (-1,))[0] != step:
                self.newest[mode] = step, []
            if len(self.newest[mode][1]) < KEPT:
                self.newest[mode][1].append(record)
            if mode == "train":
                fresh[step].append(record)
        for step, records in fresh.items():
            self.rates[step] = added(self.rates.get(step, {}), counted(records, thinking, answer_format))


def record_of(line: bytes) -> dict[str, Any] | None:
    """A line's record; None for one that is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and all(name in record for name in NEEDED) and isinstance(record["step"], int)
    return record if whole and isinstance(record["completion"], str) else None


def counted(records: list[dict[str, Any]], thinking: bool, answer_format: str) -> Counts:
    """What answers got right, over those whose gold is an action; `thinking`, `answer_format`: see `row_flags`."""
    scored = [record for record in records if parse_action(record["solution"] or "") is not None]
    texts, golds = ([record[name] for record in scored] for name in ("completion", "solution"))
    metrics = measure(texts, golds, [screen_of(record) for record in scored], thinking, answer_format)
    return {name: (metrics[name].value * metrics[name].n, metrics[name].n) for name in RATES}


def added(one: Counts, other: Counts) -> Counts:
    """The counts of both."""
    nothing = (0.0, 0)
    pairs = {name: (one.get(name, nothing), other.get(name, nothing)) for name in {**one, **other}}
    return {name: (a[0] + b[0], a[1] + b[1]) for name, (a, b) in pairs.items()}


class Answers:
    """Of all ranks."""

    def __init__(self, folder: Path):
        self.folder = folder / FOLDER
        self.ranks: dict[Path, Rank] = {}

    def look(self, settings: dict[str, Any]) -> None:
        """Read on, new ranks' files too; those of a start with more processes than the run's `settings` now have are
        left out."""
        paths = sorted(self.folder.glob("rank*.jsonl"))[: settings.get("world_size")]
        for path in paths:
            if path not in self.ranks:
                self.ranks[path] = Rank(path, BACK // len(paths))
        self.ranks = {path: self.ranks[path] for path in paths}
        for rank in self.ranks.values():
            rank.look(settings.get("thinking", True), settings.get("answer_format", ANSWER_TAG))

    def newest(self) -> list[dict[str, Any]]:
        """Groups of training's newest step, and those of an evaluation that came after it."""
        found: list[dict[str, Any]] = []
        after = -1
        for mode in ("train", "eval"):
            parts = [rank.newest[mode] for rank in self.ranks.values() if mode in rank.newest]
            step = max((at for at, _ in parts), default=-1)
            if step >= after:
                found += [record for at, records in parts if at == step for record in records]
                after = step
        return list(islice(groups(found), SHOWN))

    def lines(self) -> dict[tuple[str, str], Line]:
        """Curves of what training's answers got right, over all ranks. A rollout's step is how many were done when it
        was sampled; the log has it under the one that it is trained in."""
        whole: dict[int, Counts] = {}
        for rank in self.ranks.values():
            for step, counts in rank.rates.items():
                whole[step] = added(whole.get(step, {}), counts)
        found: dict[tuple[str, str], Line] = {}
        for step in sorted(whole):
            for name, (right, rows) in whole[step].items():
                if rows:
                    steps, values = found.setdefault(("right answers", name), (array("d"), array("d")))
                    steps.append(step + 1)
                    values.append(right / rows)
        return found
