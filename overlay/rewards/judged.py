"""llm: the judge's score of an answer. Without a verdict there is no score: no other scale stands in for it."""

from collections.abc import Iterator

from overlay.errors import SettingError
from overlay.rewards.answers import answer_of, gold_of
from overlay.rewards.judge.client import Judge


def score_judged(judge: Judge | None, texts: list[str], golds: list[list[str]]) -> list[float | None]:
    """Scores in [0, 1] of several completions, asked for together, each the best against its right answers, None where
    a verdict is missing. Only the answer goes to the judge. SettingError without a judge."""
    if judge is None:
        raise SettingError("reward method llm needs a judge: --judge_model and OPENAI_API_BASE")
    pairs = [(gold_of(gold), answer_of(text)) for text, right in zip(texts, golds, strict=True) for gold in right]
    given = iter(judge.scores(pairs))
    return [_best(given, len(right)) for right in golds]


def _best(scores: Iterator[float | None], count: int) -> float | None:
    taken = [next(scores) for _ in range(count)]
    known = [score for score in taken if score is not None]
    return max(known) if len(known) == count else None
