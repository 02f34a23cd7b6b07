"""The kinds of pages: each draws its elements from a seed. Training never sees those in `HELD_OUT_KINDS`.

Lengths are in units (`overlay.live.phone.screen`). What a task can name has a name that no other element of the page
has; where it stands is drawn, so that a page has to be looked at.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from overlay.live.phone.drawing import Drawing
from overlay.live.phone.screen import COLUMNS, ROWS, THEMES, Element, Screen
from overlay.live.phone.words import DAYS, DIGITS, FIRST, ICONS, LETTERS, SECOND, icon_name


def _below(elements: list[Element]) -> list[Element]:
    """Elements that something covers: no task names them."""
    return [replace(each, name=None) for each in elements]


def entries(d: Drawing) -> list[Element]:
    """A list; rows are tapped. Some have an icon in front."""
    rows = d.rows(d.rng.randint(4, 8))
    if d.rng.random() < 0.35:
        moved = [tuple((text, x + 2, y) for text, x, y in row.words) for row in rows]
        rows = [replace(row, words=words, icon=(d.icon(), 0, 0, 2)) for row, words in zip(rows, moved, strict=True)]
    return [d.title(), *rows]


def _beside(d: Drawing, kind: str, x: int, w: int, text: int) -> list[Element]:
    """Rows with something to press at `x`; the task names that."""
    count, out = d.rng.randint(4, 8), [d.title()]
    for pair, y in zip(d.labels(count), d.lines(count, 2), strict=True):
        state = f"{kind} on" if d.rng.random() < 0.4 else kind
        out.append(Element("row", 0, y, COLUMNS, 2, None, d.label(pair, text, 0)))
        out.append(Element(state, x, y, w, 2, d.name(pair)))
    return out


def switches(d: Drawing) -> list[Element]:
    """Settings with a switch at the right."""
    return _beside(d, "switch", 12, 4, 1)


def checks(d: Drawing) -> list[Element]:
    """Boxes to tick, left of their text."""
    return _beside(d, "check", 0, 2, 3)


def radios(d: Drawing) -> list[Element]:
    """One of several, the mark after the text."""
    return _beside(d, "radio", 10, 2, 0)


def chats(d: Drawing) -> list[Element]:
    """Conversations: a picture, a name, a message. They are held."""
    count, rows = d.rng.randint(3, 5), [d.title()]
    for pair, y in zip(d.labels(count), d.lines(count, 4), strict=True):
        words = (*d.label(pair, 5, 0), (d.rng.choice(SECOND[d.lang]), 5, 2))
        rows += [Element("row hold", 0, y, COLUMNS, 4, d.name(pair), words), Element("avatar", 1, y, 3, 3)]
    return rows


def apps(d: Drawing) -> list[Element]:
    """A home screen: icons with one word below."""
    count = d.rng.randint(6, 14)
    places = zip(d.singles(count), d.spots(count, range(0, 16, 4), range(2, 22, 4)), strict=True)
    return [Element("tile", x, y, 4, 4, word, ((word, 0, 2),), (d.icon(), 1, 0, 2)) for word, (x, y) in places]


def dialog(d: Drawing) -> list[Element]:
    """A question over a dimmed list, its buttons below or beside each other."""
    count, y = d.rng.randint(2, 3), 2 * d.rng.randint(2, 6)
    if count == 2 and d.rng.random() < 0.5:
        places = [(2, y + 6, 6), (8, y + 6, 6)]
    else:
        places = [(3, y + 4 + 2 * n, 10) for n in range(count)]
    pair = d.rng.choice(FIRST[d.lang]), d.rng.choice(SECOND[d.lang])
    return [
        *_below(entries(d)), Element("veil", 0, 0, COLUMNS, ROWS),
        Element("sheet", 1, y, 14, 12, None, d.label(pair, 1, 0)),
        *(
            Element("button", x, top, w, 2, word, ((word, 1, 0),))
            for word, (x, top, w) in zip(d.singles(count), places, strict=True)
        ),
    ]  # fmt: skip


def tabs(d: Drawing) -> list[Element]:
    """Tabs at the bottom or below the title, and a text."""
    y, on = d.rng.choice([2, 22]), d.rng.randrange(4)
    bar = [
        Element("tab on" if n == on else "tab", 4 * n, y, 4, 2, word, ((word, 0, 0),))
        for n, word in enumerate(d.singles(4))
    ]
    return [d.title(), *d.text(), *bar]


def keypad(d: Drawing) -> list[Element]:
    """Digits in drawn order."""
    return [d.title(), *d.keys(d.rng.sample(DIGITS, 9), 2, 2 * d.rng.randint(2, 6), 4, 4, 3)]


def letters(d: Drawing) -> list[Element]:
    """A keyboard of letters in drawn order."""
    return [d.title(), *d.keys(d.rng.sample(LETTERS, 20), 1, 2 * d.rng.randint(3, 7), 3, 2, 5)]


def calendar(d: Drawing) -> list[Element]:
    """Days in a grid, from a drawn weekday on."""
    return [d.title(), *d.keys(DAYS, 1, 2 * d.rng.randint(2, 5), 2, 2, 7, d.rng.randrange(7))]


def form(d: Drawing) -> list[Element]:
    """Fields below their names."""
    count, out = d.rng.randint(2, 4), [d.title()]
    for pair, y in zip(d.labels(count), d.lines(count, 4), strict=True):
        out.append(Element("text", 1, y, 14, 2, None, d.label(pair, 0, 0)))
        out.append(Element("field", 1, y + 2, 12, 2, d.name(pair)))
    return out


def cards(d: Drawing) -> list[Element]:
    """Two columns of cards."""
    count, out = d.rng.randint(4, 6), [d.title()]
    for pair, (x, y) in zip(d.labels(count), d.spots(count, (0, 8), range(2, 20, 6)), strict=True):
        words = (*d.label(pair, 1, 0), (d.rng.choice(DIGITS), 5, 2))
        out.append(Element("card", x, y, 8, 6, d.name(pair), words, (d.icon(), 1, 2, 2)))
    return out


def gallery(d: Drawing) -> list[Element]:
    """Pictures with their names below; they are held."""
    count, out = d.rng.randint(3, 6), [d.title()]
    for pair, (x, y) in zip(d.labels(count), d.spots(count, (0, 8), range(2, 20, 6)), strict=True):
        out.append(Element("card hold", x, y, 8, 6, d.name(pair), d.label(pair, 1, 4), (d.icon(), 2, 0, 4)))
    return out


def toolbar(d: Drawing) -> list[Element]:
    """Icons in a row below the title or at the bottom, and a text."""
    y, icons = d.rng.choice([2, 22]), d.rng.sample(list(ICONS), d.rng.randint(5, 8))
    bar = [Element("tab", 2 * n, y, 2, 2, icon_name(icon, d.lang), (), (icon, 0, 0, 2)) for n, icon in enumerate(icons)]
    return [d.title(), *d.text(), *bar]


def shapes(d: Drawing) -> list[Element]:
    """Icons strewn over the page."""
    count = d.rng.randint(4, 8)
    places = zip(d.rng.sample(list(ICONS), count), d.spots(count, range(0, 16, 4), range(2, 22, 4)), strict=True)
    return [Element("tile", x, y, 4, 4, icon_name(icon, d.lang), (), (icon, 1, 1, 2)) for icon, (x, y) in places]


def chips(d: Drawing) -> list[Element]:
    """Single words in rounded frames."""
    count = d.rng.randint(5, 9)
    places = zip(d.singles(count), d.spots(count, (0, 5, 10), range(4, 22, 2)), strict=True)
    return [d.title(), *(Element("chip", x, y, 5, 2, word, ((word, 1, 0),)) for word, (x, y) in places)]


def menu(d: Drawing) -> list[Element]:
    """A menu that has come up over a list."""
    count, x, y = d.rng.randint(3, 6), d.rng.choice([0, 2, 6]), 2 * d.rng.randint(1, 5)
    items = [Element("row", x + 1, y + 2 * n, 8, 2, word, ((word, 1, 0),)) for n, word in enumerate(d.singles(count))]
    return [*_below(entries(d)), Element("sheet", x, y, 10, 2 * count), *items]


def drawer(d: Drawing) -> list[Element]:
    """A drawer over the left of a dimmed page."""
    sheet = Element("sheet", 0, 0, 10, ROWS)
    return [*_below(entries(d)), Element("veil", 0, 0, COLUMNS, ROWS), sheet, *d.rows(d.rng.randint(4, 8), 10)]


def buttons(d: Drawing) -> list[Element]:
    """Buttons in two columns."""
    count = d.rng.randint(4, 8)
    places = zip(d.labels(count), d.spots(count, (0, 8), range(2, 22, 4)), strict=True)
    return [Element("button", x, y, 8, 2, d.name(pair), d.label(pair, 1, 0)) for pair, (x, y) in places]


def steppers(d: Drawing) -> list[Element]:
    """Amounts with a plus at the right end, which the task names by its row."""
    count, out = d.rng.randint(3, 6), [d.title()]
    for pair, y in zip(d.labels(count), d.lines(count, 2), strict=True):
        words = (*d.label(pair, 1, 0), (d.rng.choice(DIGITS), 10, 0))
        out.append(Element("row", 0, y, COLUMNS, 2, None, words, ("minus", 8, 0, 2)))
        out.append(Element("text", 12, y, 2, 2, d.name(pair), (), ("plus", 0, 0, 2)))
    return out


KINDS: dict[str, Callable[[Drawing], list[Element]]] = {
    "entries": entries, "switches": switches, "checks": checks, "chats": chats, "apps": apps, "dialog": dialog,
    "tabs": tabs, "keypad": keypad, "form": form, "cards": cards, "toolbar": toolbar, "shapes": shapes, "chips": chips,
    "menu": menu, "calendar": calendar, "drawer": drawer, "buttons": buttons, "steppers": steppers, "radios": radios,
    "letters": letters, "gallery": gallery,
}  # fmt: skip
HELD_OUT_KINDS = ("buttons", "drawer", "gallery", "letters", "radios", "steppers")
TRAINED_KINDS = tuple(kind for kind in KINDS if kind not in HELD_OUT_KINDS)


def draw(kind: str, rng: random.Random, lang: str, unseen: bool = False, shared: Sequence[str] = ()) -> Screen:
    """A page of a kind; with `unseen`, one of its labels is one that training never sees. `shared`: see `Drawing`."""
    theme = rng.randrange(len(THEMES))
    return Screen(kind, lang, theme, KINDS[kind](Drawing(rng, lang, unseen, shared)))
