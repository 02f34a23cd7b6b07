"""One played episode as a task folder: `step_<n>.json` beside its screenshots, in the users' own format."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overlay.action.action import ACTION_NAMES


@dataclass(frozen=True)
class Done:
    """One step that was done: the screen before it as PNG, the action's type and parameter (screenshot pixels), and
    what the history says of it."""

    screen: bytes
    type: str
    parameter: str
    said: str


def write_task(folder: Path, app: str, instruction: str, plan: Sequence[str], steps: Sequence[Done]) -> int:
    """Write an episode into a new `folder`; returns its number of steps. `plan`: a line for each step."""
    folder.mkdir(parents=True)
    for number, step in enumerate(steps, 1):
        (folder / f"{folder.name}_{number}.png").write_bytes(step.screen)
        record = {
            "input": {
                "task_content": instruction,
                "task_path": {str(i): text for i, text in enumerate(plan, 1)},
                "screen_path1": f"{folder.name}_{number - 1}.png" if number > 1 else "",
                "screen_path2": f"{folder.name}_{number}.png",
                "history_path_all": [done.said for done in steps[: number - 1]],
                "app_name": app,
                "action_type_list": ACTION_NAMES,
            },
            "output": {
                "action_type": step.type, "action_parameter": {step.type: step.parameter},
                "action_description": step.said,
            },
        }  # fmt: skip
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (folder / f"step_{number}.json").write_text(text + "\n", encoding="utf-8")
    return len(steps)
