"""A screen as data: elements on a grid of 14 pixels, and its HTML.

`UNIT` is half of the side that one token of Qwen2.5-VL covers; a word begins at a unit and its line lies inside a row
of two units, so that a small model meets each word cut in few ways.
"""

import html
from dataclasses import dataclass, field

from overlay.live.phone.words import ICONS

UNIT = 14
COLUMNS, ROWS = 16, 24
WIDTH, HEIGHT = COLUMNS * UNIT, ROWS * UNIT
THEMES = (  # page, surface, ink, accent
    ("#ffffff", "#eef1f6", "#101418", "#1a66d6"),
    ("#f6f2e8", "#fffdf6", "#2a2118", "#b3541e"),
    ("#10141a", "#222a35", "#f2f5f8", "#39a0ff"),
    ("#eef7f0", "#ffffff", "#0d2a18", "#16803c"),
)
CSS = """
.screen { position: relative; overflow: hidden; width: %(width)dpx; height: %(height)dpx; background: var(--page);
  color: var(--ink); font: 500 13px/28px "Noto Sans CJK SC", sans-serif; user-select: none; touch-action: none }
.screen * { position: absolute; box-sizing: border-box }
.word { height: 28px; white-space: nowrap; letter-spacing: -0.2px }
.small .word { font-size: 11px }
.bar { background: var(--accent); color: #fff }
.row { background: var(--surface); border-bottom: 1px solid var(--line) }
.tile, .card, .key { background: var(--surface); border: 1px solid var(--line); border-radius: 6px }
.button { background: var(--accent); color: #fff; border-radius: 6px }
.field { background: #fff; color: #111; border: 1px solid #888; border-radius: 3px }
.field.on { border: 2px solid var(--accent) }
.switch { border-radius: 14px; background: #9aa3ad; border: 7px solid var(--surface) }
.switch.on { background: var(--accent) }
.check { border: 2px solid var(--ink); background: transparent }
.check.on { background: var(--accent) }
.radio { border: 2px solid var(--ink); border-radius: 50%% }
.radio.on { background: var(--accent) }
.chip { border: 1px solid var(--accent); border-radius: 14px }
.tab { background: var(--surface); border-top: 2px solid var(--line) }
.tab.on { border-top-color: var(--accent) }
.veil { background: rgba(0, 0, 0, .45) }
.sheet { background: var(--surface); border-radius: 8px; box-shadow: 0 2px 10px rgba(0, 0, 0, .5) }
.avatar { border-radius: 50%%; background: var(--accent) }
""" % {"width": WIDTH, "height": HEIGHT}  # noqa: UP031  braces of CSS


@dataclass(frozen=True)
class Element:
    """Something on a screen, in units from its top left corner. `name`: what a task calls it, None for what no task
    names; `words`: (text, x, y) inside the element; `icon`: (name, x, y, side) inside it."""

    kind: str
    x: int
    y: int
    w: int
    h: int
    name: str | None = None
    words: tuple[tuple[str, int, int], ...] = ()
    icon: tuple[str, int, int, int] | None = None

    def html(self, number: int) -> str:
        """Its markup; `number` finds it again."""
        inside = "".join(_word(*word) for word in self.words)
        if self.icon:
            inside += _icon(*self.icon)
        return (
            f'<div class="{self.kind}" data-n="{number}" style="{_box(self.x, self.y, self.w, self.h)}">{inside}</div>'
        )


@dataclass(frozen=True)
class Screen:
    """A page. `kind`: its type; elements that come later lie on top."""

    kind: str
    lang: str
    theme: int
    elements: list[Element] = field(default_factory=list)

    def html(self) -> str:
        """The whole screen as one element."""
        page, surface, ink, accent = THEMES[self.theme]
        colours = f"--page:{page};--surface:{surface};--ink:{ink};--accent:{accent};--line:{ink}33"
        inside = "".join(element.html(number) for number, element in enumerate(self.elements))
        return f'<div class="screen" style="{colours}">{inside}</div>'


def _box(x: float, y: float, w: float, h: float) -> str:
    return f"left:{x * UNIT}px;top:{y * UNIT}px;width:{w * UNIT}px;height:{h * UNIT}px"


def _word(text: str, x: int, y: int) -> str:
    shown = html.escape(text)
    return f'<span class="word" data-w="{shown}" style="left:{x * UNIT}px;top:{y * UNIT}px">{shown}</span>'


def _icon(name: str, x: int, y: int, side: int) -> str:
    box = _box(x, y, side, side)
    path = f'<path fill="currentColor" d="{ICONS[name][1]}"/>'
    return f'<svg data-w="{name}" viewBox="-2 -2 28 28" style="{box}">{path}</svg>'
