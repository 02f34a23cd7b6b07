"""One row of a data file: what VLM-R1 documents, checked and brought to one shape.

`image` is a string, a list or absent; a turn's `value` a string or a number; `<answer>` tags in the gpt value are
dropped; a row's own `accu_reward_method` wins over the file's. Columns of our own are optional. For scores: the `task`
that the row belongs to; `group`, the part of a benchmark that it counts to; of the current screen, in pixels, the boxes
of all annotated `elements`, of those that the gold action means (`candidates`), and the annotated `tap`. `aligned` is
false where the history is not the beginning of the plan. `thinking` is what leads to the answer, for supervised
training; where it is not given, what the gpt value has in `<think>` tags. `also` are further right answers, each in the
form of the row's own: an answer is worth what it is worth against the best of them. `difficulty` is the share of a
model's samples that were right (`make difficulty`), for `--difficulty` and `--curriculum`. `earlier` are
the screens of the task's steps before those in `image`, oldest first, for `--history_screens`: paths, or
`{"image": path, "point": [x, y] or null}` with where the step's action landed, in pixels, for `--history_crop`.
"""

import json
import re
from itertools import chain
from typing import Any, NamedTuple

import orjson

from overlay.action.action import ACTION_NAMES, BOX_TYPES, LARGEST, from_record
from overlay.action.completion import load_json, split
from overlay.action.reserved import MARK, RESERVED
from overlay.prompt.crop import Point, cropped

ANNOTATIONS = ("elements", "candidates", "tap", "task")
KEYS = (
    "id",
    "image",
    "conversations",
    "accu_reward_method",
    *ANNOTATIONS,
    "group",
    "aligned",
    "thinking",
    "also",
    "difficulty",
    "earlier",
)  # what is read of a row
_FENCE = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
_LIKE_IMAGE = ("images", "img", "image_path", "image_paths", "Image")


class Earlier(NamedTuple):
    """An earlier screen: its path, where its action landed, in pixels, and whether the row says that (also of none)."""

    path: str
    point: Point | None = None
    told: bool = False


class RowError(ValueError):
    """A row that cannot be used; the message says what is wrong, the caller where."""


def _images(row: dict) -> list[str]:
    images = row.get("image")
    if images is None:
        if other := next((name for name in _LIKE_IMAGE if name in row), None):
            raise RowError(f"image paths stand under 'image', not under {other!r}")
        return []
    if isinstance(images, str) and images:
        return [images]
    if isinstance(images, list) and all(isinstance(path, str) and path for path in images):
        return images
    raise RowError("'image' is neither a path nor a list of paths (leave it out where there is none)")


def earlier_of(row: dict) -> list[Earlier]:
    """A row's earlier screens. Raises RowError."""
    screens, found = row.get("earlier", []), list[Earlier]()
    for screen in screens if isinstance(screens, list) else [None]:
        told = isinstance(screen, dict)
        path, point = (screen.get("image"), screen.get("point")) if told else (screen, None)
        if not isinstance(path, str) or not path:
            raise RowError("'earlier' is no list of paths, of the screens before those in 'image'")
        if point is not None and not (isinstance(point, list) and len(point) == 2 and all(map(_pixel, point))):
            raise RowError("'earlier': a 'point' is not [x, y] in pixels, or null")
        found.append(Earlier(path, None if point is None else (point[0], point[1]), told))
    return found


def _turn(row: dict, position: int, speaker: str) -> str:
    turns = row.get("conversations")
    if not isinstance(turns, list) or len(turns) < 2:
        raise RowError("'conversations' needs a human and a gpt turn")
    if len(turns) > 2:
        raise RowError(f"{len(turns)} turns, but a row is one question and its answer: make a row of each pair")
    turn = turns[position]
    if not isinstance(turn, dict) or turn.get("from") != speaker:
        raise RowError(f"conversations[{position}] is not from {speaker!r}")
    value = turn.get("value")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(f"conversations[{position}].value is neither text nor a number")
    return value if isinstance(value, str) else str(value)


def _gold(text: str) -> str:
    """An action in another spelling (after its reasoning, in a code fence, its type in capitals, its parameter bare) as
    `make data` writes it: rewards would read it, and what rescales its coordinates would not. Other text as it is."""
    bare = split(text).rest.strip()
    fenced = _FENCE.fullmatch(bare)
    bare = fenced[1] if fenced else bare
    record = load_json(bare)
    action = from_record(record)
    if action is None or action.type not in ACTION_NAMES:
        return text
    given = record.get("action_parameter")
    if isinstance(given, dict) and (len(given) != 1 or next(iter(given)).strip().casefold() != action.type):
        return text  # no other spelling, but another action: for the data check
    parameter = {action.type: "" if given is None and action.type in ("wait", "back") else action.parameter}
    if bare == text and (record["action_type"], given) == (action.type, parameter):
        return text
    return json.dumps({**record, "action_type": action.type, "action_parameter": parameter}, ensure_ascii=False)


def _check_action(what: str, text: str, why: str = "") -> None:
    """RowError for text that is no action that a step can be: no type of ours, or one of a place without its four
    coordinates."""
    action = from_record(load_json(text))
    if action is None or action.type not in ACTION_NAMES:
        raise RowError(f"{what} is no action{why}: {text[:80]}")
    if action.type in (*BOX_TYPES, "swipe") and len(action.coordinates or ()) != 4:
        raise RowError(f"{what}: {action.type} {action.parameter!r} is not x1,y1,x2,y2")


def check_gold(solution: str) -> None:
    """RowError for the gold answer of a row of method `gui_action` that names an action type and is no action: nothing
    that a model says would be worth anything. Text that names none is another kind of row's."""
    if '"action_type"' in solution:
        _check_action("the gold answer", solution)


def also_of(row: dict, solution: str = "") -> list[str]:
    """Further right answers of a row (`also`), each an action's JSON or other text, as `solution` has the first. Raises
    RowError, also for what is no action where the solution is one."""
    given = row.get("also")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(each, (str, dict)) and each for each in given):
        raise RowError("'also' is no list of further right answers, each as the row's own: an action, or text")
    texts = (each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in given)
    found = [_gold(text.replace("<answer>", "").replace("</answer>", "").strip()) for text in texts]
    own = from_record(load_json(solution))
    if own is not None and own.type in ACTION_NAMES:
        for number, text in enumerate(found):
            _check_action(f"also[{number}]", text, ", as the row's own answer is")
    return found


def annotations_of(row: dict) -> dict[str, Any]:
    """Columns of a row that say what was annotated: `elements` and `candidates` (boxes x1,y1,x2,y2) and `tap` (x,y), in
    pixels of the current screenshot, and `task` (str); None for what the row does not say. Raises RowError."""
    found = {name: row.get(name) for name in ANNOTATIONS}
    for name in ("elements", "candidates"):
        boxes = [] if found[name] is None else found[name]
        if not isinstance(boxes, list) or not all(isinstance(box, list) and len(box) == 4 for box in boxes):
            raise RowError(f"{name!r} is no list of boxes [x1, y1, x2, y2]")
        if not all(map(_pixel, chain.from_iterable(boxes))):
            raise RowError(f"{name!r} holds what is no number of pixels")
    tap = found["tap"]
    if tap is not None and not (isinstance(tap, list) and len(tap) == 2 and all(map(_pixel, tap))):
        raise RowError("'tap' is not [x, y] in pixels")
    if found["task"] is None:
        return found
    if isinstance(found["task"], bool) or not isinstance(found["task"], (str, int)):
        raise RowError("'task' is neither text nor a number")
    return found | {"task": str(found["task"])}


def _pixel(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _text(row: dict, name: str, default: str) -> str:
    value = row.get(name, default)
    if not isinstance(value, str):
        raise RowError(f"{name!r} is not a string")
    return value


def _difficulty(row: dict) -> float | None:
    value = row.get("difficulty")
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise RowError("'difficulty' is no share between 0 and 1")
    return float(value)


def parse_row(line: bytes | str, method: str = "default", history: int = 0, crop: float = 0.0) -> dict[str, Any]:
    """Parse one line into `id` (str), `image` (paths as written, before them up to `history` of `earlier`, cropped to
    `crop`), `earlier` (list of `Earlier`), `problem`, `solution`, `accu_reward_method`, `also` (list of str), the
    columns of `annotations_of`, `group` (str), `thinking` (str, empty for none), `difficulty` (float or None) and
    `aligned` (whether plan and history line up).

    Rows without any `<image>` mark get their marks in front, as VLM-R1 places images. Raises RowError.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    images, earlier = _images(row), earlier_of(row)
    problem, answer = _turn(row, 0, "human"), _turn(row, 1, "gpt")
    thinking = _text(row, "thinking", "") or split(answer).think or ""
    for what, text in (("the question", problem), ("the gold answer", answer), ("'thinking'", thinking)):
        for mark in RESERVED:
            if mark != MARK and mark in text:
                raise RowError(f"{what} holds {mark}, which the chat template takes for its own")
    solution = _gold(answer.replace("<answer>", "").replace("</answer>", "").strip())
    marks = problem.count(MARK)
    if marks == 0 and images:
        problem = MARK * len(images) + problem
    elif marks != len(images):
        raise RowError(f"{marks} {MARK} marks but {len(images)} images")
    return {
        "id": str(row.get("id", "")),
        "image": [*(cropped(e.path, e.point, crop) for e in earlier[-history:] if history), *images],
        "earlier": earlier,
        "problem": problem,
        "solution": solution,
        "also": also_of(row, solution),
        "accu_reward_method": _text(row, "accu_reward_method", method),
        **annotations_of(row),
        "group": _text(row, "group", ""),
        "thinking": thinking,
        "difficulty": _difficulty(row),
        "aligned": row.get("aligned") is not False,
    }
