"""Recordings that end one step too early, for a start that leaves GRPO room.

Many a step before a plan's last says "all is done", as of an annotator who stopped there. Supervised training imitates
that; a reward for the right action does not. Screens and prompts stay.
"""

import json
import random
from pathlib import Path
from typing import Any

from overlay.demo.step_lessons import looked_answer
from overlay.live.phone.tasks import DONE
from overlay.prompt.template import step_input

SHARE = 0.75  # of the steps before a plan's last


def ends_early(problem: str, solution: str) -> str | None:
    """What such a recording says on a step before a plan's last; None for any other step."""
    step = step_input(problem)[1]
    if len(step["history_path_all"]) != len(step["task_path"]) - 2:
        return None
    said = DONE["en" if step["task_content"].isascii() else "zh"]
    done = {"action_type": "task_completed", "action_parameter": {"task_completed": said}, "action_description": said}
    return json.dumps(done, ensure_ascii=False)


def write_recordings(rows: Path, out: Path, early: float = SHARE, seed: int = 0) -> tuple[int, int]:
    """Copy a file of converted rows, with reasoning, and this share of the steps before a plan's last changed: `early`.
    Returns how many such steps there are and how many are changed."""
    rng, found, changed = random.Random(seed), 0, 0
    with open(rows, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as file:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            problem, told = row["conversations"][0]["value"], row["conversations"][1]
            done = ends_early(problem, told["value"])
            if done is not None:
                found += 1
                if rng.random() < early:
                    changed, told["value"] = changed + 1, done
            row["thinking"] = looked_answer(problem, told["value"]).split("</think>")[0].removeprefix("<think>")
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return found, changed
