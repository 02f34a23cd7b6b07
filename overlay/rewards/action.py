"""gui_action: compare the answered action with the gold action, as actions (see `overlay.action.match.match`)."""

from overlay.action.action import parse_action
from overlay.action.completion import content_of
from overlay.action.match import match


def score_action(text: str, solution: str) -> float:
    """Score of a completion's text against the gold action's JSON (with or without `<answer>` tags), in [0, 1]."""
    return match(parse_action(text), parse_action(solution))


def gui_action_reward(completions: list, solution: list[str], **columns: list) -> list[float]:
    """Match of each answered action with its gold action, in [0, 1]; 1 only for what does the gold action's work fully.

    >>> gold = '{"action_type": "click", "action_parameter": {"click": "37,378,227,633"}}'
    >>> far = gold.replace("37,378,227,633", "900,900,950,950")
    >>> wrap = lambda text: [{"role": "assistant", "content": f"<answer>{text}</answer>"}]
    >>> gui_action_reward([wrap(gold), wrap(far)], [gold, gold])[0]
    1.0
    """
    return [score_action(content_of(c), gold) for c, gold in zip(completions, solution, strict=True)]
