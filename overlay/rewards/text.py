"""Accuracy methods on text: default, mcq, yes_no, math, all_match. Each `(completion's text, solution) -> [0, 1]`.

The values are VLM-R1's; docs/rewards.md lists where they are not, and why.
"""

import re

from Levenshtein import ratio

from overlay.rewards.answers import answer_of, clean, gold_of

HINTS = (
    "答案", "选择", "正确", "是", "对", "认为", "应该", "觉得",
    "ANSWER", "CORRECT", "CHOOSE", "SELECT", "RIGHT", "THINK", "BELIEVE", "SHOULD",
)  # fmt: skip


def choice_in(text: str) -> str | None:
    """The option letter that a text settles on: of several, the one with most hints around it, near the end, before a
    stop."""
    text = re.sub(r"\s+", " ", text.upper())
    letters = re.findall(r"(?<![A-Z])([A-Z])(?=[.,?!:;]|$)", text)
    if len(letters) < 2:
        return letters[0] if letters else None
    scores = dict.fromkeys(letters, 0)
    for letter in letters:  # a letter that stands twice counts twice
        at = text.find(letter)
        context = text[max(0, at - 20) : at + 20]
        scores[letter] += sum(hint in context for hint in HINTS)
        scores[letter] += 2 * (at > 0.7 * len(text)) + (at + 1 < len(text) and text[at + 1] in "。.!！,，")
    return max(scores, key=scores.__getitem__)


def equivalent(answer: str, gold: str) -> bool:
    """Whether both are the same mathematics, by math-verify (which gives up after some seconds)."""
    from math_verify import parse, verify

    try:
        return bool(verify(parse(answer), parse(gold)))
    except Exception:  # noqa: BLE001 (on hostile text the parsers raise nearly anything)
        return False


def score_default(text: str, solution: str) -> float:
    """Same mathematics: 1. Else a gold with digits: equal as numbers, or similar as text; a gold option letter: the
    same letter; any other gold: similar as text."""
    answer, gold = answer_of(text), gold_of(solution)
    if equivalent(answer, gold):
        return 1.0
    letter = choice_in(gold)
    if re.search(r"\d", gold):
        try:
            return float(float(clean(answer)) == float(clean(gold)))
        except ValueError:
            return ratio(clean(answer), clean(gold))
    if letter:
        return float(choice_in(answer) == letter)
    return ratio(clean(answer), clean(gold))


def score_mcq(text: str, solution: str) -> float:
    """1 for the gold option letter."""
    gold = gold_of(solution)
    return float(choice_in(answer_of(text)) == (choice_in(gold) or gold))


def score_yes_no(text: str, solution: str) -> float:
    """1 when the first yes or no of the answer is the gold's."""
    answer, gold = (re.search(r"\b(yes|no)\b", part.lower()) for part in (answer_of(text), gold_of(solution)))
    return float(answer is not None and gold is not None and answer.group() == gold.group())


def unboxed(formula: str) -> str:
    """A formula without spaces, and without the `\\boxed{}` that it ends with."""
    _, box, inner = formula.rpartition("\\boxed{")
    return "".join((inner.removesuffix("$").removesuffix("}") if box else formula).split())


def score_math(text: str, solution: str) -> float:
    """1 for the same text, the same mathematics, or the same formula but for spaces and a box around it."""
    answer, gold = clean(answer_of(text)), clean(gold_of(solution))
    return float(answer == gold or equivalent(answer, gold) or unboxed(answer) == unboxed(gold))


def score_all_match(text: str, solution: str) -> float:
    """1 for the same text, case and line ends aside."""
    return float(clean(answer_of(text)) == clean(gold_of(solution)))
