"""llm: the judge's score of an answer. Without a verdict there is no score: no other scale stands in for it."""

from overlay.errors import SettingError
from overlay.rewards.answers import answer_of, gold_of
from overlay.rewards.judge.client import Judge


def score_judged(judge: Judge | None, texts: list[str], solutions: list[str]) -> list[float | None]:
    """Scores in [0, 1] of several completions, asked for together, None where no verdict came. Only the answer goes to
    the judge. SettingError without a judge."""
    if judge is None:
        raise SettingError("reward method llm needs a judge: --judge_model and OPENAI_API_BASE")
    return judge.scores([(gold_of(gold), answer_of(text)) for text, gold in zip(texts, solutions, strict=True)])
