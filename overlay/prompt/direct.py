"""A question that asks for thinking, as one that asks for the answer alone (`--thinking false`)."""

import re

from overlay.prompt.template import step_input

# What the built-in templates say of thinking, and what they say without it.
_SAID = {
    "先给出思考，再给出当前这一步": "直接给出当前这一步",
    "6. 思考与答案必须一致。\n": "",
    "严格输出下面两部分，": "严格输出下面这一部分，",
    "first reason, then give the one action": "give the one action",
    "6. The reasoning and the answer must agree.\n": "",
    "exactly these two parts and nothing": "exactly this part and nothing",
}
_FORMAT = re.compile(r"<think>[^\n]*?</think>\s*(?=<answer>)")
NOTES = {
    "zh": "直接作答，不写思考过程：只写 <answer></answer> 这一部分。\n",
    "en": "Answer at once and write no reasoning: the <answer></answer> part alone.\n",
}


def without_thinking(question: str, language: str) -> str:
    """The question without what asks for thinking in front of the step's input. A template of the user's own keeps its
    words, but for a format line's `<think>` part; where that does not stand either, a sentence in front says it.

    >>> without_thinking("Write <think>why</think><answer>what</answer>.", "en")
    'Write <answer>what</answer>.'
    """
    before = step_input(question)[0]
    shorter = before
    for said, instead in _SAID.items():
        shorter = shorter.replace(said, instead)
    shorter = _FORMAT.sub("", shorter)
    note = NOTES[language] if shorter == before else ""
    return note + shorter + question[len(before) :]
