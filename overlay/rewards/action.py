"""gui_action: compare the answered action with the gold action, as actions (see `overlay.action.match.match`)."""

from collections.abc import Sequence

from overlay.action.action import parse_action
from overlay.action.completion import ANSWER_TAG, content_of
from overlay.action.match import match
from overlay.rewards.answers import golds_of


def score_action(
    text: str,
    solution: str,
    size: Sequence[float] = (1, 1),
    click: str = "box",
    answer_format: str = ANSWER_TAG,
) -> float:
    """Score of a completion's text against the gold action's JSON (with or without `<answer>` tags), in [0, 1]; `size`
    (width, height) of the screen in their space; `click`: see `overlay.action.clicks`; `answer_format`: that the
    completion was asked for."""
    return match(parse_action(text, answer_format), parse_action(solution), (size[0], size[1]), click)


def gui_action_reward(
    completions: list,
    solution: list[str],
    screen_size: Sequence[Sequence[float]] | None = None,
    click: str = "box",
    also: Sequence[Sequence[str] | None] | None = None,
    answer_format: Sequence[str] | None = None,
    **columns: list,
) -> list[float]:
    """Match of each answered action with its gold action, in [0, 1]; 1 only for what does the gold action's work fully.
    `also`: further right actions of each row, of which the best matched counts. `screen_size` (width, height) in the
    model's space: a swipe's direction is that on the screen's shares. `answer_format`: that each was asked for.

    >>> gold = '{"action_type": "click", "action_parameter": {"click": "37,378,227,633"}}'
    >>> far = gold.replace("37,378,227,633", "900,900,950,950")
    >>> wrap = lambda text: [{"role": "assistant", "content": f"<answer>{text}</answer>"}]
    >>> gui_action_reward([wrap(gold), wrap(far)], [gold, gold])[0]
    1.0
    """
    sizes = screen_size or [(1, 1)] * len(solution)
    formats = answer_format or [ANSWER_TAG] * len(solution)
    rows = zip(completions, golds_of(solution, also), sizes, formats, strict=True)
    return [
        max(score_action(content_of(completion), gold, size, click, one) for gold in golds)
        for completion, golds, size, one in rows
    ]
