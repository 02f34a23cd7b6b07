"""Take a completion apart: `<think>{JSON}</think><answer>{JSON}</answer>`, or with `<tool_call>{JSON}</tool_call>` in
place of the answer pair (`--answer_format`). Any text gives an answer, none raises.

What is cut is no answer, what is badly spelled is repaired: `stated` is the one rule for rewards, metrics and clients.
"""

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

ANSWER_TAG, TOOL_CALL = "answer_tag", "tool_call"
TAGS = {ANSWER_TAG: "answer", TOOL_CALL: "tool_call"}  # of each answer format
THINK_FIELDS = ("task_interpretation", "current_page_audit", "path_alignment_check", "action_validation")
MISSING = object()
DEEPEST = 200  # brackets within brackets
_BRACKETS = re.compile(r"[\[\]{}]")
REPAIRABLE = 2000  # characters; repairing takes time
# Full-width forms of ASCII, and the marks that Chinese text sets in their place.
WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | str.maketrans("、“”【】", ',""[]')
_OPENING = re.compile(r"^\s*(?:```\w*\s*)?")
_MARKS = re.compile(r'"(?:[^"\\]|\\.?)*+"?|<\|box_(?:start|end)\|>|[\uFF01-\uFF5E、“”【】]', re.DOTALL)


@dataclass(frozen=True)
class Completion:
    """The two parts of a completion, as text; None where the pair of tags is not there.

    `think` lies between the first `<think>` and the `</think>` after it; `answer` in the last `<answer>` pair outside
    the think part, so an answer hidden in the reasoning, or many answers, win nothing; as a tool call in the only
    `<tool_call>` pair there, for a program would do all that it is told. `rest` is the text without the think part.
    Linear in the text's length.
    """

    think: str | None
    answer: str | None
    rest: str


def split(text: str, answer_format: str = ANSWER_TAG) -> Completion:
    """Find the think and answer parts of a completion's text; `answer_format`: of `TAGS`."""
    think, rest = None, text
    start = text.find("<think>")
    end = text.find("</think>", start) if start >= 0 else -1
    if end >= 0:
        think = text[start + len("<think>") : end]
        rest = text[:start] + text[end + len("</think>") :]
    opening, closing = tags(answer_format)
    close = rest.rfind(closing)
    start = rest.rfind(opening, 0, close) if close >= 0 else -1
    found = start >= 0 and (answer_format != TOOL_CALL or rest.count(opening) == rest.count(closing) == 1)
    return Completion(think, rest[start + len(opening) : close] if found else None, rest)


def tags(answer_format: str) -> tuple[str, str]:
    """The tags that an answer stands between."""
    return f"<{TAGS[answer_format]}>", f"</{TAGS[answer_format]}>"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _deep(text: str) -> bool:
    """Whether brackets nest deeper than any answer's; the parser would run out of stack, wherever it is called."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = accumulate(1 if bracket in "[{" else -1 for bracket in _BRACKETS.findall(text))
    return any(level > DEEPEST for level in depth)


def load_json(text: str | None) -> Any:
    """Strictly parsed JSON (no NaN or Infinity), or `MISSING` when `text` is None, not JSON, or nested too deep."""
    if text is None or _deep(text):
        return MISSING
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return MISSING


def repair_json(text: str | None) -> Any:
    """The object that broken JSON most likely meant (json_repair; nothing is evaluated), or `MISSING`.

    Only for a short text that starts as an object does, in a code fence or not: prose is not repaired into an answer.
    Outside its strings full-width marks count as the ASCII ones, and Qwen's box tokens as quotes.
    """
    text = _OPENING.sub("", text or "", count=1)
    if not text.startswith(("{", "｛")) or len(text) > REPAIRABLE:
        return MISSING
    text = _MARKS.sub(lambda mark: _ascii(mark[0]), text)
    if _deep(text):
        return MISSING
    import json_repair

    try:
        value = json_repair.loads(text)
    except (ValueError, RecursionError):
        return MISSING
    return value if isinstance(value, dict) else MISSING


def _ascii(mark: str) -> str:
    """A mark outside strings as JSON spells it; a string as it is."""
    return mark if mark[0] == '"' else '"' if mark[0] == "<" else mark.translate(WIDE)


def stated(text: str, answer_format: str = ANSWER_TAG) -> tuple[Any, bool]:
    """(what a completion's answer states, as JSON; whether it had to be repaired into JSON). `MISSING` for none.

    The answer is the answer pair's text. Without a pair it is all text outside the think part, if that is finished: a
    tag that is never closed, or an object without its last bracket, was cut, and is none.
    """
    parts = split(text, answer_format)
    answer = parts.rest if parts.answer is None else parts.answer
    value = load_json(answer)
    if value is not MISSING:
        return value, False
    if parts.answer is None and (tags(answer_format)[0] in answer or _open(answer)):
        return MISSING, False
    return repair_json(answer), True


def _open(text: str) -> bool:
    return sum(map(text.count, "{｛")) > sum(map(text.count, "}｝"))


def whole_text(text: str) -> str:
    """Text with every half of a surrogate pair replaced: JSON may spell one, but no file, page or server takes it.

    >>> whole_text("a\\ud800b")
    'a\ufffdb'
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def content_of(completion: Any) -> str:
    """Text of a conversational completion, `[{"role": "assistant", "content": str}]`, or of a plain string."""
    if isinstance(completion, str):
        return completion
    content = completion[0].get("content") if completion else None
    if isinstance(content, list):  # structured content: its text parts
        content = "".join(part.get("text") or "" for part in content)
    return content or ""
