"""accuracy: the reward whose method is chosen by file (`--reward_method`) or by row (`accu_reward_method`)."""

from collections.abc import Callable, Sequence

from overlay.action.action import as_answer_tag
from overlay.action.completion import ANSWER_TAG, content_of
from overlay.rewards.action import score_action
from overlay.rewards.answers import golds_of
from overlay.rewards.boxes import score_map, score_od_ap, score_od_ap50, score_od_length, score_weighted_sum
from overlay.rewards.judge.client import Judge
from overlay.rewards.judged import score_judged
from overlay.rewards.text import score_all_match, score_default, score_math, score_mcq, score_yes_no

SCORES: dict[str, Callable[[str, str], float]] = {
    "default": score_default,
    "mcq": score_mcq,
    "yes_no": score_yes_no,
    "map": score_map,
    "math": score_math,
    "weighted_sum": score_weighted_sum,
    "od_ap": score_od_ap,
    "od_ap50": score_od_ap50,
    "odLength": score_od_length,
    "all_match": score_all_match,
    "gui_action": score_action,
}
METHODS = (*SCORES, "llm")


def accuracy_reward(
    completions: list,
    solution: list[str],
    accu_reward_method: list[str],
    judge: Judge | None = None,
    screen_size: Sequence[Sequence[float]] | None = None,
    click: str = "box",
    also: Sequence[Sequence[str] | None] | None = None,
    answer_format: Sequence[str] | None = None,
    **columns: list,
) -> list[float | None]:
    """Score each completion by its own row's method, in [0, 1], against the best of its right answers (`solution` and
    those of `also`), or None where the judge gave no verdict; the dataset refuses unknown methods beforehand.

    `judge` is asked about all rows of method `llm` at once; `click` is how `gui_action` scores clicks
    (`overlay.action.clicks`); a trainer has both bound (`overlay.rewards.bound`). `screen_size` (width, height) in the
    model's space is for `gui_action`. `answer_format`: that each was asked for; a tool call is compared, and shown to
    the judge, as the action that it says.

    >>> wait = '{"action_type": "wait", "action_parameter": {"wait": ""}}'
    >>> accuracy_reward([[{"role": "assistant", "content": f"<answer>{wait}</answer>"}]], [wait], ["gui_action"])
    [1.0]
    """
    formats = answer_format or [ANSWER_TAG] * len(solution)
    made = [content_of(completion) for completion in completions]
    texts = [as_answer_tag(text, one) for text, one in zip(made, formats, strict=True)]
    judged = [row for row, method in enumerate(accu_reward_method) if method == "llm"]
    # With a judge also for no rows: the ranks share out what is to be asked.
    asks = judge is not None or judged
    golds = golds_of(solution, also)
    verdicts = score_judged(judge, [texts[n] for n in judged], [golds[n] for n in judged]) if asks else []
    known = dict(zip(judged, verdicts, strict=True))
    sizes = screen_size or [(1, 1)] * len(texts)

    def score(n: int) -> float | None:
        if n in known:
            return known[n]
        method = accu_reward_method[n]
        if method == "gui_action":
            return max(score_action(made[n], gold, sizes[n], click, formats[n]) for gold in golds[n])
        return max(SCORES[method](texts[n], gold) for gold in golds[n])

    return [score(n) for n in range(len(texts))]
