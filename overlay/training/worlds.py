"""Which rows and which episodes a run trains on, by --episodes; the same for both backends."""

from collections.abc import Callable
from typing import Any

from overlay.action.completion import TOOL_CALL
from overlay.data.splits import Splits
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle
from overlay.settings import TrainerOptions
from overlay.training.episodes import World


def episodes_or_rows(
    options: TrainerOptions, data: Any, training: Any, style: PromptStyle, prepare: Callable[[], Splits]
) -> tuple[Splits, World | None]:
    """(rows, where their episodes come from or None). `data`: the flags of the data; `training`: the trainer's;
    `prepare`: makes rows of the data files in this `style`. Raises SettingError or DataError."""
    if style.answer_format == TOOL_CALL and options.click_reward == "iou":
        raise SettingError(
            "--click_reward iou: with --answer_format tool_call a click is a point, which overlaps nothing: use point"
        )
    if options.episodes == "live":
        from overlay.training.live import live_pages  # which needs Playwright

        pages = live_pages(options, data.reward_funcs, training, style)
        return Splits(pages.seeds, None, frozenset(), style, {}), pages
    if "page" in data.reward_funcs:
        raise SettingError("--reward_funcs page: only with --episodes live, whose pages give it")
    splits = prepare()
    if options.episodes == "no":
        return splits, None
    from overlay.training.semi_online import recordings

    return splits, recordings(options, data, training, splits.train, splits.style)
