"""page: what the page itself says of the episode, for --episodes live."""


def page_reward(completions: list, page_reward: list[float | None], **columns: list) -> list[float | None]:
    """The page's reward of each step: its verdict at an episode's last step, 0 before; None when the page failed.

    >>> page_reward([[], []], page_reward=[0.0, 1.0])
    [0.0, 1.0]
    """
    return list(page_reward)


page_reward.needed = True  # pyright: ignore[reportFunctionMemberAccess]  see overlay.training.recorder.NEEDED
