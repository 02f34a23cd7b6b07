"""llm: the judge's score of an answer; without a verdict, what can be said without one."""

from overlay.action.action import parse_action
from overlay.action.match import match, similarity
from overlay.errors import SettingError
from overlay.rewards.answers import answer_of, gold_of
from overlay.rewards.judge.client import Judge


def score_without_judge(text: str, solution: str) -> float:
    """`gui_action` where the gold answer is an action, else the similarity of the texts.

    An answer that is no action is worth nothing against an action: by similarity a list of all actions would score.
    """
    gold = parse_action(solution)
    if gold is not None:
        return match(parse_action(text), gold)
    return similarity(answer_of(text), gold_of(solution))


def score_judged(judge: Judge | None, texts: list[str], solutions: list[str]) -> list[float]:
    """Scores in [0, 1] of several completions, asked for together. Only the answer goes to the judge. SettingError
    without a judge."""
    if judge is None:
        raise SettingError("reward method llm needs a judge: --judge_model and OPENAI_API_BASE")
    verdicts = judge.scores([(gold_of(gold), answer_of(text)) for text, gold in zip(texts, solutions, strict=True)])
    return [
        score_without_judge(text, gold) if verdict is None else verdict
        for verdict, text, gold in zip(verdicts, texts, solutions, strict=True)
    ]
