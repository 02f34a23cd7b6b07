"""What a score is worth: answers that need no model, for `make eval` and the demo alike.

They go through the same metrics as a model's. They do not reason, so they have no think part, and their format rate is
0: empty reasoning would count as perfect format, above every model that really writes some.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence

from overlay.action.action import ACTION_NAMES, BOX_TYPES, Action, as_box, centre

# Words of a plan's step that say its type, in the template's languages; the first that occurs decides.
WORDS = (
    ("long_click", ("长按", "long press", "long click")),
    ("open_app", ("打开", "启动", "open ", "launch")),
    ("type", ("输入", "搜索框中", "type ", "enter ")),
    ("swipe", ("滑动", "上滑", "下滑", "swipe", "scroll")),
    ("back", ("返回", "回退", "go back")),
    ("wait", ("等待", "wait")),
    ("task_completed", ("完成任务", "任务完成", "finish")),
    ("click", ("点击", "选择", "click", "tap", "press")),
)


def _completion(kind: str, parameter: str) -> str:
    answer = {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": ""}
    return f"<answer>{json.dumps(answer)}</answer>"


def guess(sizes: Sequence[tuple[float, float]], seed: int = 0) -> list[str]:
    """`random`: any type; any place on the screen for a click, any two for a swipe. `sizes` (width, height) of each
    row's screen, in the model's space."""
    draw = random.Random(seed)
    answers = []
    for width, height in sizes:
        kind = draw.choice(list(ACTION_NAMES))
        first, second = (
            f"{draw.randrange(max(1, int(width)))},{draw.randrange(max(1, int(height)))}" for _ in range(2)
        )
        places = {"swipe": f"{first},{second}"} | dict.fromkeys(BOX_TYPES, first)
        answers.append(_completion(kind, places.get(kind, "")))
    return answers


def majority(golds: list[Action], sizes: Sequence[tuple[float, float]]) -> list[str]:
    """`majority`: these rows' most frequent type, at the mean place of its gold boxes, or with its commonest text."""
    kind = Counter(gold.type for gold in golds).most_common(1)[0][0]
    own = [(gold, size) for gold, size in zip(golds, sizes, strict=True) if gold.type == kind]
    if kind not in BOX_TYPES:
        parameter = Counter(str(gold.parameter) for gold, _ in own).most_common(1)[0][0]
        return [_completion(kind, parameter)] * len(golds)
    places = [(x / w, y / h) for gold, (w, h) in own if gold.coordinates for x, y in [centre(as_box(gold.coordinates))]]
    x, y = (sum(part) / len(places) for part in zip(*places, strict=True))
    return [_completion(kind, f"{x * w:.0f},{y * h:.0f}") for w, h in sizes]


def plan_step(fields: dict) -> str:
    """`plan`: the plan's next step, by the number of steps in the history, read as an action; no place is known."""
    plan, history = fields.get("task_path"), fields.get("history_path_all") or []
    steps = list(plan.values()) if isinstance(plan, dict) else plan if isinstance(plan, list) else []
    done = len(history) if isinstance(history, list) else 0
    if done >= len(steps):
        return _completion("task_completed", "")
    step = str(steps[done])
    for kind, words in WORDS:
        for word in words:
            if word in step.lower():
                return _completion(
                    kind, step.lower().split(word, 1)[1].strip(" :：“”\"'。.") if kind in ("open_app", "type") else ""
                )
    return _completion("click", "")
