"""A gold step as rules judge it, and what a rule is. All coordinates are pixels of the original screenshot.

Answers and gold come in the model's space; `Screen.pixels` takes both back, so that a verdict is the same in each.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from overlay.action.action import BOX_TYPES, Action, Box, as_box, centre, parse_action
from overlay.action.space import Scale, rescale

Point = tuple[float, float]


@dataclass(frozen=True)
class Screen:
    """What a row says of its current screen: `size` (width, height); `tap`: where the annotator's finger landed;
    `elements`: boxes of all annotated elements; `candidates`: those of them that the gold action means. None where the
    row does not say. `scale`: of the model's space; `gold`: the gold action in pixels, which the model's space has in
    whole numbers of its own only; `also`: further right actions, in pixels."""

    size: Point | None = None
    scale: Scale = (1.0, 1.0)
    tap: Point | None = None
    elements: Sequence[Box] | None = None
    candidates: Sequence[Box] | None = None
    gold: Action | None = None
    also: tuple[Action, ...] = ()

    def pixels(self, action: Action | None) -> Action | None:
        """An action of the model's space in pixels of the screenshot."""
        if action is None or self.scale == (1.0, 1.0) or (coordinates := action.coordinates) is None:
            return action
        return replace(action, parameter=list(rescale(coordinates, self.scale, back=True)))


@dataclass(frozen=True)
class Step:
    """A gold action, in pixels, on its screen."""

    gold: Action
    screen: Screen = field(default_factory=Screen)

    @property
    def others(self) -> list["Step"]:
        """The step with each further right action for gold. Tap and candidates are the gold action's alone: the box of
        a further click is its own element, and its centre the tap."""
        own = replace(self.screen, tap=None, gold=None, also=())
        return [Step(each, replace(own, candidates=_own_element(each))) for each in self.screen.also]

    @property
    def size(self) -> Point:
        """(width, height) of the screen; a rule that lists it in `needs` is asked only where it is known."""
        assert self.screen.size is not None
        return self.screen.size

    @property
    def box(self) -> Box | None:
        """The gold box; None where gold is a point or no place."""
        coordinates = self.gold.coordinates
        return as_box(coordinates) if coordinates and len(coordinates) == 4 else None

    @property
    def tap(self) -> Point | None:
        """The annotated tap; the centre of the gold box stands in for it."""
        return self.screen.tap or point(self.gold)

    def share(self, where: Point) -> Point:
        """A place as shares of the screen's width and height."""
        return where[0] / self.size[0], where[1] / self.size[1]

    def shares(self, boxes: Sequence[Box]) -> list[Box]:
        """Boxes (x1, y1, x2, y2) in shares of the screen."""
        return [(*self.share((x1, y1)), *self.share((x2, y2))) for x1, y1, x2, y2 in boxes]


Judge = Callable[[Action, Step], bool | None]


@dataclass(frozen=True)
class Rule:
    """When an answer is right. `judge` is asked about answers of gold types in `types`, on screens that say what
    `needs` lists for the gold type; `link`: the published code; `taps`: whether it measures from the annotated tap."""

    judge: Judge
    types: frozenset[str]
    meaning: str
    link: str = ""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taps: bool = False

    def lacks(self, step: Step) -> str:
        """Why a step cannot be judged, in words; empty when it can."""
        if step.gold.type not in self.types:
            return f"no such type: {step.gold.type}"
        missing = [name for name in self.needs.get(step.gold.type, ()) if getattr(step.screen, name) is None]
        return f"the row lacks {' and '.join(missing)}" if missing else ""

    def __call__(self, answer: Action | None, step: Step) -> bool | None:
        """Whether an answer (pixels; None: no readable one) is right, by the gold action or a further one; None where
        the step cannot be judged by its gold action."""
        if self.lacks(step):
            return None
        if answer is None:
            return False
        own = self.judge(answer, step)
        if own is not False:
            return own
        return any(not self.lacks(other) and self.judge(answer, other) for other in step.others)


def point(action: Action) -> Point | None:
    """Where a click lands: the point, or the centre of the box."""
    coordinates = action.coordinates
    return centre(as_box(coordinates)) if coordinates else None


def _own_element(action: Action) -> list[Box] | None:
    coordinates = action.coordinates if action.type in BOX_TYPES else None
    return None if coordinates is None else [as_box(coordinates)]


def path(action: Action) -> tuple[float, ...] | None:
    """The four numbers of a swipe."""
    coordinates = action.coordinates
    return coordinates if coordinates and len(coordinates) == 4 else None


def grown(box: Box, factor: float) -> Box:
    """A box `factor` times as large around its centre."""
    (x, y), across, down = centre(box), (box[2] - box[0]) / 2 * factor, (box[3] - box[1]) / 2 * factor
    return x - across, y - down, x + across, y + down


def grown_on_screen(box: Box, factor: float) -> Box:
    """The same on shares as AITW's code and its heirs have it: the corner does not leave the screen, and the sides keep
    their grown length (at most 1) from there."""
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = max(0.0, box[0] - (factor - 1) * width / 2), max(0.0, box[1] - (factor - 1) * height / 2)
    return x, y, x + min(1.0, factor * width), y + min(1.0, factor * height)


def screen_of(example: Mapping[str, Any]) -> Screen:
    """The screen of an example (`overlay.data.examples`) as far as that says it: its size and scale, and its further
    right actions."""
    size, (sx, sy) = example.get("screen_size"), example.get("coordinate_scale") or (1.0, 1.0)
    screen = Screen((size[0] / sx, size[1] / sy) if size else None, (sx, sy))
    further = (screen.pixels(parse_action(text)) for text in example.get("also") or ())
    return replace(screen, also=tuple(action for action in further if action is not None))


def rows_screen(row: Mapping[str, Any], size: Point | None, scale: Scale, gold: Action) -> Screen:
    """The screen of a row (columns `tap`, `elements`, `candidates`, `also`, each optional) of `size` pixels, and its
    gold."""
    tap, boxes = row.get("tap"), {name: row.get(name) for name in ("elements", "candidates")}
    known = {name: None if value is None else [tuple(box) for box in value] for name, value in boxes.items()}
    further = (parse_action(text) for text in row.get("also") or ())
    also = tuple(action for action in further if action is not None)
    return Screen(size, scale, tuple(tap) if tap else None, gold=gold, also=also, **known)
