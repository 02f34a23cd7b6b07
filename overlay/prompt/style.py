"""How a row's text becomes a prompt, and how the model counts coordinates in it. Reads no file, loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from overlay.action.completion import ANSWER_TAG, TOOL_CALL
from overlay.action.reserved import MARK
from overlay.action.space import NOTES, ORIGINAL, Scale, Space
from overlay.prompt.crop import Point, cropped
from overlay.prompt.direct import without_thinking
from overlay.prompt.template import place_images, with_template
from overlay.prompt.tool_call import with_tool_call

# In front of their images.
EARLIER = {"zh": "这个任务中更早的屏幕，从早到晚：", "en": "Earlier screens of this task, oldest first:"}


@dataclass(frozen=True)
class PromptStyle:
    """How a row's text becomes a prompt.

    `template`: GUI template for rows that bring none, None to leave all alone. `question_template`: VLM-R1's template
    of another task type, with `{Question}` in it; its layout is images first. `space`: how the model counts
    coordinates. `thinking`: whether the answer is to be led up to; without, no question asks for it. `answer_format`:
    what every question asks for (`overlay.action.completion.TAGS`). `history_screens`: how many screens before those
    that a step itself shows come with it, at most; `history_crop`: how much of one is shown around where its action
    landed, a share of its shorter side, 0 for all.
    """

    template: str | None = None
    language: str = "zh"
    images_first: bool = False
    question_template: str | None = None
    space: Space = ORIGINAL
    thinking: bool = True
    answer_format: str = ANSWER_TAG
    history_screens: int = 0
    history_crop: float = 0.0

    def question(self, problem: str) -> str:
        """The human turn's text. A problem that is only the step's input JSON gets the GUI template in front."""
        if self.question_template is not None:
            marks = MARK * problem.count(MARK)
            return marks + self.question_template.replace("{Question}", problem.replace(MARK, ""))
        if self.template is None:
            return problem
        whole = with_template(self.template, problem, self.language)
        return problem if whole is None else whole

    def messages(self, problem: str, images: int) -> list[dict[str, Any]]:
        """Chat messages of a prompt with `images` image slots: earlier screens' in front, then those at the problem's
        marks."""
        before = min(max(0, images - problem.count(MARK)), self.history_screens)
        earlier = f"{EARLIER[self.language]}{MARK * before}\n" if before else ""
        note = NOTES[self.language] if self.space.name == "norm1000" else ""
        text = note + earlier + self.worded(self.question(problem))
        return [{"role": "user", "content": place_images(text, images, self.images_first)}]

    def earlier(self, screens: Sequence[str], points: Sequence[Point | None]) -> list[str]:
        """Those of a task's screens so far that come before the two last ones, as many and as much as is shown.
        `points`: where on each, in its pixels, its action landed."""
        before = list(zip(screens[:-2], points, strict=False))
        shown = before[-self.history_screens :] if self.history_screens else []
        return [cropped(path, point, self.history_crop) for path, point in shown]

    def worded(self, question: str) -> str:
        """A question, or a template, with what it asks the answer to look like."""
        text = question if self.thinking else without_thinking(question, self.language)
        return with_tool_call(text, self.language) if self.answer_format == TOOL_CALL else text

    def scale(self, size: tuple[int, int], max_pixels: int = 0) -> Scale:
        """Scale of a screen of `size` (width, height) pixels; `max_pixels` where its row has a limit of its own."""
        return self.space.scale(*size, max_pixels)
