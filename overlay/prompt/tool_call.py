"""A question that asks for an answer in tags, as one that asks for a tool call (`--answer_format tool_call`)."""

import re
from functools import cache
from pathlib import Path

from overlay.prompt.template import step_input

# What the built-in templates say of the answer, as expressions, and what they say where it is a call.
_SAID = {
    "zh": {
        r"动作空间（.*?(?=规则：\n)": "",
        r"边界框不得超出截图，且 x1 < x2、y1 < y2。": "不得超出截图。",
        r"标签之外不写任何内容。": "此外不写任何内容。",
    },
    "en": {
        r"Action space \(.*?(?=Rules:\n)": "",
        r"; a box lies inside the screen, with x1 < x2 and y1 < y2\.": " and lie inside the screen.",
        r"nothing outside the tags\.": "nothing else.",
    },
}
_ANSWER = re.compile(r"<answer>[^\n]*?</answer>")
CALL = {
    "zh": "Action: 动作说明\n<tool_call>\n"
    '{"name": "mobile_use", "arguments": {"action": "动作", "参数": "参数的值"}}\n</tool_call>',
    "en": "Action: what it does\n<tool_call>\n"
    '{"name": "mobile_use", "arguments": {"action": "action", "argument": "its value"}}\n</tool_call>',
}
NOTES = {"zh": "答案的形式：\n", "en": "Form of the answer:\n"}


@cache
def tool(language: str) -> str:
    """The tool's signature as a prompt has it, a line before and its tags around it."""
    return (Path(__file__).parent / f"tool_{language}.txt").read_text(encoding="utf-8")


def with_tool_call(question: str, language: str) -> str:
    """The question with a tool's signature in place of the action space in front of the step's input, and with a call
    in place of `<answer>...</answer>`. A template of the user's own keeps its words: the signature stands before it,
    and where it has no answer in tags, the form of the answer too.

    >>> with_tool_call("Write <answer>what</answer>.", "en").endswith("</tool_call>.")
    True
    """
    before = step_input(question)[0]
    after, changed = question[len(before) :], before
    first, *rest = _SAID[language].items()
    changed = re.sub(first[0], lambda _: tool(language), changed, count=1, flags=re.DOTALL)
    if changed == before:
        changed = tool(language) + changed
    for said, instead in rest:
        changed = re.sub(said, instead, changed)
    if not _ANSWER.search(changed):
        return f"{NOTES[language]}{CALL[language]}\n{changed}{after}"
    return _ANSWER.sub(lambda _: CALL[language], changed) + after
