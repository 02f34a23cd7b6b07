"""One row of a data file: what VLM-R1 documents, checked and brought to one shape.

`image` is a string, a list or absent; a turn's `value` a string or a number; `<answer>` tags in the gpt value are
dropped; a row's own `accu_reward_method` wins over the file's.
"""

from typing import Any

import orjson

from overlay.prompt.template import MARK, RESERVED

COLUMNS = ("id", "image", "problem", "solution", "accu_reward_method", "source")


class RowError(ValueError):
    """A row that cannot be used; the message says what is wrong, the caller where."""


def _images(row: dict) -> list[str]:
    images = row.get("image")
    if images is None:
        return []
    if isinstance(images, str) and images:
        return [images]
    if isinstance(images, list) and all(isinstance(path, str) and path for path in images):
        return images
    raise RowError("'image' is neither a path nor a list of paths (leave it out where there is none)")


def _turn(row: dict, position: int, speaker: str) -> str:
    turns = row.get("conversations")
    if not isinstance(turns, list) or len(turns) < 2:
        raise RowError("'conversations' needs a human and a gpt turn")
    turn = turns[position]
    if not isinstance(turn, dict) or turn.get("from") != speaker:
        raise RowError(f"conversations[{position}] is not from {speaker!r}")
    value = turn.get("value")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(f"conversations[{position}].value is neither text nor a number")
    return value if isinstance(value, str) else str(value)


def parse_row(line: bytes | str, method: str = "default") -> dict[str, Any]:
    """Parse one line into `id` (str), `image` (paths as written), `problem`, `solution` and `accu_reward_method`.

    Rows without any `<image>` mark get their marks in front, as VLM-R1 places images. Raises RowError.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RowError("not a JSON object")
    images = _images(row)
    problem = _turn(row, 0, "human")
    for mark in RESERVED:
        if mark != MARK and mark in problem:
            raise RowError(f"the question holds {mark}, which the chat template takes for its own")
    marks = problem.count(MARK)
    if marks == 0 and images:
        problem = MARK * len(images) + problem
    elif marks != len(images):
        raise RowError(f"{marks} {MARK} marks but {len(images)} images")
    solution = _turn(row, 1, "gpt").replace("<answer>", "").replace("</answer>", "").strip()
    own = row.get("accu_reward_method", method)
    if not isinstance(own, str):
        raise RowError("'accu_reward_method' is not a string")
    return {
        "id": str(row.get("id", "")),
        "image": images,
        "problem": problem,
        "solution": solution,
        "accu_reward_method": own,
    }
