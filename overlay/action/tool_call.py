"""The answer as a tool call, `<tool_call>{"name": "mobile_use", "arguments": {...}}</tool_call>`: our actions in it.

Names are those of Qwen3-VL and GUI-Owl (Mobile-Agent-v3.5, `mobile_use/utils.py`): `interact` asks the user, `answer`
and `terminate` end the task. In front of the call may stand their `Action: ...`, one line that says what it does.
"""

import json
from typing import Any

TOOL = "mobile_use"
SAYS = "Action:"
# Arguments of an action beside its name, then those that it may have.
REQUIRED = {
    "click": ("coordinate",), "long_press": ("coordinate",), "swipe": ("coordinate", "coordinate2"),
    "type": ("text",), "open": ("text",), "interact": ("text",), "answer": ("text",), "key": ("text",),
    "system_button": ("button",), "terminate": ("status",), "wait": (),
}  # fmt: skip
OPTIONAL = {"long_press": ("time",), "wait": ("time",), "terminate": ("text",)}
BUTTONS = ("Back", "Home", "Menu", "Enter")
# Our types by the tool's action; `system_button` and `terminate` go by an argument.
TYPES = {
    "click": "click", "long_press": "long_click", "swipe": "swipe", "type": "type", "open": "open_app",
    "interact": "inquiry", "answer": "task_completed", "wait": "wait",
}  # fmt: skip
STATUS = {"success": "task_completed", "failure": "task_impossible"}
SECONDS = 2  # of a gold wait or long press, which our actions do not say


def _word(value: Any) -> str:
    return value.strip().casefold() if isinstance(value, str) else ""


def _point(value: Any) -> list | None:
    """[x, y] as given; a list of two, of numbers or their spellings."""
    flat = isinstance(value, list) and len(value) == 2 and not any(isinstance(part, (list, dict)) for part in value)
    return value if flat else None


def record_of_call(value: Any) -> dict[str, Any] | None:
    """A call as a record of our own, `{"action_type": ..., "action_parameter": {type: value}}`, or None for what calls
    not this tool or names no action. What our actions do not know keeps the tool's name for it; arguments that its
    action does not take are passed over."""
    arguments = value.get("arguments") if isinstance(value, dict) and value.get("name") == TOOL else None
    action = _word(arguments.get("action")) if isinstance(arguments, dict) else ""
    if not isinstance(arguments, dict) or not action:
        return None
    kind, parameter = TYPES.get(action, action), arguments.get("text")
    if action in ("click", "long_press"):
        parameter = _point(arguments.get("coordinate"))
    elif action == "swipe":
        ends = _point(arguments.get("coordinate")), _point(arguments.get("coordinate2"))
        parameter = None if ends[0] is None or ends[1] is None else [*ends[0], *ends[1]]
    elif action == "system_button":
        kind = parameter = _word(arguments.get("button"))
    elif action == "terminate":
        kind = STATUS.get(_word(arguments.get("status")), action)
    return {"action_type": kind, "action_parameter": {kind: "" if kind in ("wait", "back") else parameter}}


def is_whole(value: Any) -> bool:
    """Whether a call is one of this tool with all that its action takes, spelled as it should be, and nothing else."""
    if not isinstance(value, dict) or set(value) != {"name", "arguments"} or value["name"] != TOOL:
        return False
    arguments = value["arguments"]
    action = arguments.get("action") if isinstance(arguments, dict) else None
    if not isinstance(action, str) or action not in REQUIRED:
        return False
    required = {"action", *REQUIRED[action]}
    known = required | {*OPTIONAL.get(action, ())}
    return required <= set(arguments) <= known and all(_fits(*pair) for pair in arguments.items())


def _fits(name: str, value: Any) -> bool:
    if name in ("coordinate", "coordinate2"):
        return _point(value) is not None and all(map(_number, value))
    if name == "time":
        return _number(value)
    known: dict[str, Any] = {"button": BUTTONS, "status": STATUS}
    return isinstance(value, str) and (name not in known or value in known[name])


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def said_before(rest: str) -> str:
    """What stands in front of a completion's call says that it does; empty where nothing does. `rest`: the text
    outside the think part."""
    before = rest.partition("<tool_call>")[0]
    words = " ".join(before.rpartition(SAYS)[2].split()) if SAYS in before else ""
    return words[1:-1] if len(words) > 1 and words[0] == words[-1] == '"' else words


def call_of(kind: str, parameter: Any, numbers: tuple[float, ...] | None) -> dict[str, Any]:
    """The tool's arguments for an action of ours: its type, its parameter, and its coordinates if it has some (of a
    click the point in the middle, as whole numbers). ValueError for an action on the screen that has none."""
    text = parameter if isinstance(parameter, str) else json.dumps(parameter, ensure_ascii=False)
    name = next((name for name, own in TYPES.items() if own == kind and name != "answer"), kind)
    if kind in ("click", "long_click", "swipe"):
        if numbers is None:
            raise ValueError(f"no coordinates: {kind} {text}")
        x1, y1, x2, y2 = numbers if len(numbers) == 4 else numbers * 2
        if kind == "swipe":
            return {"action": name, "coordinate": _whole(x1, y1), "coordinate2": _whole(x2, y2)}
        middle = {"action": name, "coordinate": _whole((x1 + x2) / 2, (y1 + y2) / 2)}
        return middle | ({"time": SECONDS} if kind == "long_click" else {})
    if kind in STATUS.values():
        status = next(name for name, own in STATUS.items() if own == kind)
        return {"action": "terminate", "status": status} | ({"text": text} if parameter else {})
    if kind == "back":
        return {"action": "system_button", "button": "Back"}
    if kind == "wait":
        return {"action": "wait", "time": SECONDS}
    return {"action": name, "text": text}


def _whole(x: float, y: float) -> list[int]:
    return [round(x), round(y)]


def written(arguments: dict[str, Any], says: str = "") -> str:
    """A call as the model is to write it, with what it `says` that it does in front."""
    call = json.dumps({"name": TOOL, "arguments": arguments}, ensure_ascii=False)
    line = " ".join(says.replace("<", " ").split())
    return (f"{SAYS} {line}\n" if line else "") + f"<tool_call>\n{call}\n</tool_call>"


def is_alone(rest: str, answer: str) -> bool:
    """Whether beside a call stands nothing but one line in front that says what it does. `rest`: the text outside the
    think part; `answer`: inside the call's tags."""
    before, _, after = rest.partition(f"<tool_call>{answer}</tool_call>")
    lines = before.strip().splitlines()
    return not after.strip() and (not lines or (len(lines) == 1 and lines[0].startswith(SAYS)))
