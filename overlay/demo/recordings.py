"""Recordings as they are, or with faults, for a start that leaves GRPO room: supervised training imitates them.

*Early*: many a step before a plan's last says "all is done", as of an annotator who stopped there. *Loose*: each edge
of a box is one unit further in, further out, or where it is, as of annotators who draw by hand. Screens and prompts
stay.
"""

import json
import random
from pathlib import Path
from typing import Any

from overlay.action.action import BOX_TYPES
from overlay.demo.step_lessons import looked_answer
from overlay.live.phone.environment import SCALE
from overlay.live.phone.screen import HEIGHT, UNIT, WIDTH
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


def loosened(solution: str, rng: random.Random) -> str:
    """An action with the edges of its box, in screenshot pixels, moved by up to a unit; others as they are."""
    action = json.loads(solution)
    kind, step = action["action_type"], UNIT * SCALE
    if kind not in BOX_TYPES:
        return solution
    x1, y1, x2, y2 = (int(part) + rng.choice((-step, 0, step)) for part in action["action_parameter"][kind].split(","))
    x1, y1 = min(max(x1, 0), WIDTH * SCALE - step), min(max(y1, 0), HEIGHT * SCALE - step)
    x2, y2 = min(max(x2, x1 + step), WIDTH * SCALE), min(max(y2, y1 + step), HEIGHT * SCALE)
    action["action_parameter"][kind] = f"{x1},{y1},{x2},{y2}"
    return json.dumps(action, ensure_ascii=False)


def write_recordings(
    rows: Path, out: Path, early: float = SHARE, loose: bool = False, seed: int = 0
) -> tuple[int, int]:
    """Copy a file of converted rows, with reasoning, this share of the steps before a plan's last ended `early`, and
    boxes `loose` or as they are. Returns how many such steps there are and how many are changed."""
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
            if loose:
                told["value"] = loosened(told["value"], rng)
            row["thinking"] = looked_answer(problem, told["value"]).split("</think>")[0].removeprefix("<think>")
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return found, changed
