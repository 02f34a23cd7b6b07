"""Actions: their types, how a parameter is read, and the geometry of boxes and finger paths.

One truth for data checks, rewards, metrics and drawing. Coordinates are pixels of whatever image the caller's boxes
are in.
"""

import json
import math
import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Any

from overlay.action.completion import ANSWER_TAG, TOOL_CALL, WIDE, load_json, split, stated, whole_text
from overlay.action.reserved import without_reserved
from overlay.action.tool_call import call_of, record_of_call, said_before, written

ACTION_NAMES = {
    "open_app": "打开APP",
    "click": "点击",
    "long_click": "长按",
    "type": "输入",
    "swipe": "滑动",
    "task_completed": "任务完成",
    "task_impossible": "任务无法完成",
    "inquiry": "反问",
    "wait": "等待",
    "back": "回退",
}
BOX_TYPES = ("click", "long_click")
TEXT_TYPES = ("open_app", "type", "task_completed", "task_impossible")
INQUIRY_FIELDS = ("Question", "CandidatesList", "PicDescribe", "AnswerIndex")
LARGEST = 1e6  # a coordinate beyond this is no pixel of any screen

Box = tuple[float, float, float, float]
_TAG = re.compile(r"</?\|?[A-Za-z_]{1,16}\|?>")  # Qwen's <|box_start|>, <point>
_AROUND = str.maketrans("[](){}<>;", "        ,")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Action:
    """One action: a type of `ACTION_NAMES` (or any other word) and its raw parameter (str, list or None).

    `repaired`: the answer was no JSON and had to be repaired into one.
    """

    type: str
    parameter: Any = None
    repaired: bool = field(default=False, compare=False)

    @property
    def coordinates(self) -> tuple[float, ...] | None:
        """2 or 4 finite pixels of a click, long_click or swipe; None when the parameter holds none."""
        return parse_coordinates(self.parameter)

    @property
    def text(self) -> str:
        """The parameter as text, ready to compare: NFKC, single spaces, lower case except for typed text."""
        value = " ".join(unicodedata.normalize("NFKC", plain(self.parameter)).split())
        return value if self.type == "type" else value.casefold()


def plain(value: Any) -> str:
    """Text as it is, a number as text, anything else as nothing."""
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else ""


def parse_coordinates(value: Any) -> tuple[float, ...] | None:
    """Read `"x1,y1,x2,y2"`, `"[x, y]"`, `[x1, y1, x2, y2]`, `[[x1, y1], [x2, y2]]` or numbers as strings in a list.

    Brackets and separators may be full-width, and tags such as `<|box_start|>` stand around them. Returns 2 or 4
    floats, or None for anything else, not finite or beyond `LARGEST`.
    """
    if isinstance(value, str):
        if len(value) > 400:
            return None
        parts = _TAG.sub(" ", value).translate(WIDE).translate(_AROUND).replace(",", " ").split()
    elif isinstance(value, list) and len(value) <= 4:
        parts = [p for item in value for p in (item if isinstance(item, list) else [item])]
    else:
        return None
    if len(parts) not in (2, 4):
        return None
    numbers = []
    for part in parts:
        if isinstance(part, str):
            if len(part) > 64 or not _NUMBER.fullmatch(part.strip()):
                return None
        elif isinstance(part, bool) or not isinstance(part, (int, float)) or abs(part) > LARGEST:
            return None  # before float(), which raises on a huge int
        number = float(part)
        if not math.isfinite(number) or abs(number) > LARGEST:
            return None
        numbers.append(number)
    return tuple(numbers)


def as_box(coordinates: tuple[float, ...]) -> Box:
    """A box with x1 <= x2 and y1 <= y2 from two corners or a point (a box without area)."""
    x1, y1, x2, y2 = coordinates if len(coordinates) == 4 else coordinates * 2
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def centre(box: Box) -> tuple[float, float]:
    """Where a finger lands that is told to touch the box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def contains(box: Box, x: float, y: float) -> bool:
    """Whether the point lies in the box or on its edge."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def iou(a: Box, b: Box) -> float:
    """Intersection over union in [0, 1]; 0 when either has no area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = width * height
    return min(1.0, area / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - area))


def direction(path: tuple[float, ...] | None, size: tuple[float, float] = (1, 1)) -> str | None:
    """The finger's direction of a swipe (x1, y1, x2, y2): up, down, left, right, by the longer of its two shares of the
    screen, whose `size` (width, height) is in the path's space; None when it stays in place or is no path."""
    if path is None or len(path) != 4:
        return None
    dx, dy = (path[2] - path[0]) / size[0], (path[3] - path[1]) / size[1]
    if dx == dy == 0:
        return None
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


def from_record(record: Any) -> Action | None:
    """Action of `{"action_type": ..., "action_parameter": {type: value}}`, or None when it names no type.

    A parameter under another type's name counts as none given; a bare value stands for itself.
    """
    if not isinstance(record, dict) or not isinstance(record.get("action_type"), str):
        return None
    kind = whole_text(record["action_type"]).strip().casefold()
    parameter = record.get("action_parameter")
    if isinstance(parameter, dict):
        parameter = next((v for k, v in parameter.items() if k.strip().casefold() == kind), None)
    return Action(kind, whole_text(parameter) if isinstance(parameter, str) else parameter)


def parse_action(text: str, answer_format: str = ANSWER_TAG) -> Action | None:
    """The action a completion's answer states (`completion.stated`), or None; one that had to be repaired says so.
    `answer_format`: that its prompt asked for; another one's answer is none."""
    value, repaired = stated(text, answer_format)
    action = from_record(record_of_call(value) if answer_format == TOOL_CALL else value)
    return replace(action, repaired=True) if action and repaired else action


def described(completion: str, action: Action | None, answer_format: str = ANSWER_TAG) -> str:
    """What the model says it did, for the history of its next prompt: without marks that a chat template takes for its
    own (`overlay.action.reserved`)."""
    if answer_format == TOOL_CALL:
        text = said_before(split(completion, answer_format).rest)
    else:
        record, _ = stated(completion)
        text = record.get("action_description") if isinstance(record, dict) else None
    return without_reserved(whole_text(str(text)) if text else action.type if action else "nothing")


def answer_text(solution: str, answer_format: str = ANSWER_TAG) -> str:
    """A gold action's JSON as the model is to write it: between answer tags, or as a tool call. ValueError where a tool
    call is to say what is no action of ours."""
    if answer_format != TOOL_CALL:
        return f"<answer>{solution}</answer>"
    record, action = load_json(solution), parse_action(solution)
    if not isinstance(record, dict) or action is None or action.type not in ACTION_NAMES:
        raise ValueError(f"no action that a tool call says: {solution[:80]}")
    says = record.get("action_description")
    arguments = call_of(action.type, action.parameter, action.coordinates)
    return written(arguments, says if isinstance(says, str) else "")


def as_answer_tag(completion: str, answer_format: str) -> str:
    """A completion with its answer as our JSON between answer tags, for what compares texts; one without an action has
    an empty answer then, so that no text of another kind counts as one."""
    if answer_format != TOOL_CALL:
        return completion
    record = record_of_call(stated(completion, answer_format)[0])
    return f"<answer>{'' if record is None else json.dumps(record, ensure_ascii=False)}</answer>"
