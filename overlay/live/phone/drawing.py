"""What the kinds of pages draw with: labels, places and elements that many of them have."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from overlay.live.phone.screen import COLUMNS, ROWS, Element
from overlay.live.phone.words import FIRST, ICONS, SECOND, SINGLE, joined, labels, parted

Words = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Drawing:
    """What a kind draws with. `slot`: units that a word takes; `unseen`: whether the first label is held out; `shared`:
    names on the page before, some of which stand on this one too."""

    rng: random.Random
    lang: str
    unseen: bool
    shared: Sequence[str] = ()

    @property
    def slot(self) -> int:
        return 3 if self.lang == "en" else 2

    def label(self, pair: tuple[str, str], x: int, y: int) -> Words:
        """A label's words from (x, y) on."""
        return (pair[0], x, y), (pair[1], x + self.slot, y)

    def name(self, pair: tuple[str, str]) -> str:
        """What a task calls it."""
        return joined(*pair, self.lang)

    def labels(self, count: int) -> list[tuple[str, str]]:
        """Different labels in drawn order."""
        pairs = [pair for name in self.shared if (pair := parted(name, self.lang))]
        found = labels(self.rng, self.lang, count, self.unseen, pairs)
        self.rng.shuffle(found)
        return found

    def singles(self, count: int) -> list[str]:
        """Different words that stand alone."""
        kept = [name for name in self.shared if name in SINGLE[self.lang]]
        found = self.rng.sample(kept, min(len(kept), count // 2))
        found += self.rng.sample([word for word in SINGLE[self.lang] if word not in found], count - len(found))
        self.rng.shuffle(found)
        return found

    def lines(self, count: int, height: int, first: int = 2, last: int = ROWS) -> list[int]:
        """Tops of `count` rows of `height` in drawn places between two units, in order."""
        free = (last - first - count * height) // 2
        gaps = sorted(self.rng.randint(0, free) for _ in range(count))
        return [first + index * height + 2 * gap for index, gap in enumerate(gaps)]

    def spots(self, count: int, xs: Sequence[int], ys: Sequence[int]) -> list[tuple[int, int]]:
        """`count` different places of a grid, in order."""
        return sorted(self.rng.sample([(x, y) for y in ys for x in xs], count))

    def icon(self) -> str:
        """Any icon."""
        return self.rng.choice(list(ICONS))

    def rows(self, count: int, w: int = COLUMNS) -> list[Element]:
        """Rows with a label, each of which a task can name."""
        places = zip(self.labels(count), self.lines(count, 2), strict=True)
        return [Element("row", 0, y, w, 2, self.name(pair), self.label(pair, 1, 0)) for pair, y in places]

    def text(self) -> list[Element]:
        """Three rows that no task names."""
        return [
            Element("row", 0, y, COLUMNS, 2, None, self.label(pair, 1, 0))
            for pair, y in zip(self.labels(3), (6, 10, 16), strict=True)
        ]

    def keys(self, names: Sequence[str], x: int, y: int, w: int, h: int, across: int, skip: int = 0) -> list[Element]:
        """Keys in rows of `across`, the first after `skip` places."""
        return [
            Element("key", x + w * (n % across), y + h * (n // across), w, h, name, ((name, w // 3, 0),))
            for n, name in enumerate(names, skip)
        ]

    def title(self) -> Element:
        """The bar at the top; no task names it."""
        pair = self.rng.choice(FIRST[self.lang]), self.rng.choice(SECOND[self.lang])
        return Element("bar", 0, 0, COLUMNS, 2, None, self.label(pair, 1, 0))
