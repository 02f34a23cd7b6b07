"""AndroidControl (google-research/android_control): GZIP TFRecord files, one episode in each record.

Fields as its README has them: episode_id, goal, screenshots (PNG), accessibility_trees, actions (JSON; one fewer than
screenshots), step_instructions. The trees are protocol buffers of android_env and are not read, so points get boxes of
their own. The last screen becomes `task_completed`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from data_prep.sources.common import Episode, Report, SourceStep, point, records, scroll, size_of
from overlay.errors import SourceError


def episodes(source: Path, report: Report) -> Iterator[Episode]:
    """Episodes of a file, or of all `android_control*` files of a folder."""
    files = sorted(source.glob("android_control*")) if source.is_dir() else [source]
    if not files:
        raise SourceError(f"{source}: no android_control* files")
    for file in files:
        for record in records(file):
            try:
                yield _episode(record, report)
            except (KeyError, IndexError, ValueError) as error:
                raise SourceError(f"{file}: an episode lacks or breaks {error}") from error


def _episode(record: dict[str, list], report: Report) -> Episode:
    name, goal = str(record["episode_id"][0]), record["goal"][0].decode("utf-8")
    actions = [json.loads(action) for action in record["actions"]]
    plan = [text.decode("utf-8") for text in record["step_instructions"]]
    steps, app = [], ""
    for screen, action, text in zip(record["screenshots"], actions, plan, strict=False):
        app = action.get("app_name", app)
        steps.append(SourceStep(screen, *_said(action, size_of(screen), report), description=text))
        if not steps[-1].kind:
            steps[-1].unsaid = action["action_type"]
    steps.append(SourceStep(record["screenshots"][-1], "task_completed", "", "Finish"))
    unique = [text for i, text in enumerate(plan) if i == 0 or text != plan[i - 1]]  # an instruction may span steps
    return Episode(name, goal, app, unique, steps)


def _said(action: dict, size: tuple[int, int], report: Report) -> tuple[str, str]:
    kind = action["action_type"]
    if kind in ("click", "long_press"):
        box = point(action["x"], action["y"], size, [], report)
        return ("click" if kind == "click" else "long_click"), box
    if kind == "scroll":
        return "swipe", scroll(action["direction"], size)
    if kind in ("input_text", "type"):
        return "type", action["text"]
    plain = {"open_app": ("open_app", action.get("app_name", "")), "navigate_back": ("back", ""), "wait": ("wait", "")}
    return plain.get(kind, ("", ""))
