"""Episodes → task folders, which `make data` reads: the invariants of every source's rows.

The plan has an entry for every step of the source, those that cannot be said included; a history is the plan's
beginning, and the step at hand is the next entry. Where a source's own plan is not like that, the step says so:
`aligned` false. A source without words of its own has no plan. A screen that several steps show is one file.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data_prep.sources.common import Episode, Report, Said, SourceStep, size_of
from overlay.action.action import ACTION_NAMES, Box, contains
from overlay.data.images import identified, png_or_jpeg

WORDS = {
    "en": {
        "open_app": "Open {}", "click": "Tap", "long_click": "Long press", "type": 'Type "{}"', "swipe": "Swipe",
        "task_completed": "Finish", "task_impossible": "Give up", "wait": "Wait", "back": "Go back",
    },
    "zh": {
        "open_app": "打开{}", "click": "点击", "long_click": "长按", "type": "输入“{}”", "swipe": "滑动",
        "task_completed": "完成任务", "task_impossible": "放弃任务", "wait": "等待", "back": "返回",
    },
}  # fmt: skip
REMEMBERED = 4096  # screens that a later episode may show again


def in_words(said: Said, language: str) -> str:
    """A step in words, for those that the source says nothing about."""
    return WORDS[language][said.kind].format(said.parameter) if said.kind else said.unsaid.capitalize()


def on_screen(elements: list[Box], size: tuple[int, int]) -> list[list[int]]:
    """Boxes in whole pixels, cut at the screen's edges, each once; those that nothing is left of are dropped."""
    width, height = size
    cut = ((max(0, x1), max(0, y1), min(width, x2), min(height, y2)) for x1, y1, x2, y2 in elements)
    whole = dict.fromkeys(tuple(round(value) for value in box) for box in cut)
    return [list(box) for box in whole if box[0] < box[2] and box[1] < box[3]]


class Tree:
    """Writes episodes below a folder, which need not exist."""

    def __init__(self, root: Path, report: Report):
        self.root, self.report = root, report
        self.screens: dict[bytes, Path] = {}

    def write(self, episode: Episode, number: int) -> None:
        """Write one episode as a task folder. Steps that cannot be said are left out; an episode without any is too."""
        self.report.counts.update(f"steps left out: {s.said.unsaid}" for s in episode.steps if s.said.unsaid)
        if all(step.said.unsaid for step in episode.steps):
            self.report.counts["episodes left out: no step can be said"] += 1
            return
        folder = self.root / str(number)
        folder.mkdir(parents=True)
        names = self._screens(episode, folder)
        done = [step.description or in_words(step.said, episode.language) for step in episode.steps]
        told = any(step.description for step in episode.steps)  # a plan of our words would give the answers away
        for at, step in enumerate(episode.steps):
            if step.said.unsaid:
                continue
            plan = (done if told else []) if episode.plan is None else episode.plan
            plan = plan if step.plan is None else step.plan
            record = _record(episode, step, plan, done[: at + 1], names[max(0, at - 1) : at + 1])
            parts = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in record.items()]
            text = "{" + ",\n".join(parts) + "}\n"
            (folder / f"step_{at + 1}.json").write_text(text, encoding="utf-8")
            self.report.counts["steps"] += 1
            if "aligned" in record:
                self.report.counts["steps whose plan and history do not line up"] += 1
            self.report.counts["steps with further right actions"] += bool(step.also)
        self.report.counts["episodes"] += 1

    def _screens(self, episode: Episode, folder: Path) -> list[str]:
        """File names of the steps' screens."""
        names, own = [], {}
        for number, step in enumerate(episode.steps, 1):
            key = hashlib.sha256(step.screen).digest()
            if key not in own:
                image = png_or_jpeg(identified(step.screen))
                own[key] = f"{folder.name}_{number}.{'jpg' if image.kind == 'jpeg' else 'png'}"
                self._put(image.data, key, folder / own[key])
            names.append(own[key])
        return names

    def _put(self, data: bytes, key: bytes, path: Path) -> None:
        if key in self.screens:
            try:
                os.link(self.screens[key], path)
                return
            except OSError:  # a file system without links
                pass
        path.write_bytes(data)
        if len(self.screens) == REMEMBERED:
            self.screens.clear()
        self.screens[key] = path


def _action(said: Said) -> dict[str, Any]:
    return {"action_type": said.kind, "action_parameter": {said.kind: said.parameter}}


def _record(episode: Episode, step: SourceStep, plan: list[str], done: list[str], screens: list[str]) -> dict:
    """The step file's content; `done`: steps in words up to this one; `screens`: previous (if any) and current."""
    *history, words = done
    record: dict[str, Any] = {
        "input": {
            "task_content": episode.task,
            "task_path": {str(i): text for i, text in enumerate(plan, 1)},
            "screen_path1": screens[0] if len(screens) == 2 else "",
            "screen_path2": screens[-1],
            "history_path_all": history,
            "app_name": episode.app,
            "action_type_list": ACTION_NAMES,
        },
        "output": {**_action(step.said), "action_description": words},
    }
    size, tap, candidates = size_of(step.screen), step.said.tap, step.candidates
    if step.elements is not None:
        record["elements"] = on_screen(step.elements, size)
        if tap and candidates is None:
            candidates = [box for box in step.elements if contains(box, *tap)]
    if candidates is not None:
        record["candidates"] = on_screen(candidates, size)
    if tap:
        record["tap"] = [round(value, 2) for value in tap]
    if step.also:
        record["also"] = [_action(said) for said in step.also]
    if episode.group:
        record["group"] = episode.group
    if (plan or history) and plan[: len(done)] != done:
        record["aligned"] = False
    return record
