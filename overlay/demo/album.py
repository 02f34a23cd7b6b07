"""Thousands of screens of our own pages as one array, with what stands where: what a model learns to see from."""

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from overlay.live.phone import photo
from overlay.live.phone.environment import SCALE
from overlay.live.phone.kinds import TRAINED_KINDS, draw
from overlay.live.phone.screen import HEIGHT, WIDTH
from overlay.live.phone.words import LANGUAGES

AT_A_TIME = photo.ACROSS * photo.DOWN


@dataclass(frozen=True)
class Shown:
    """A screen: `pixels` (HEIGHT, WIDTH, 3) uint8; `things`: (name, kind of element, box); `words`: (word, box). Boxes
    in those pixels."""

    pixels: np.ndarray
    lang: str
    things: list[tuple[str, str, list[int]]]
    words: list[tuple[str, list[float]]]


class Album:
    """The screens in `folder`, made by `make_album`."""

    def __init__(self, folder: Path):
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.about = json.loads((folder / "screens.json").read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self.about)

    def __getitem__(self, number: int) -> Shown:
        return Shown(np.array(self.pixels[number]), **self.about[number])


def make_album(folder: Path, count: int, seed: int) -> Album:
    """Draw `count` screens of the kinds and labels that training may see; what is there already is used."""
    if folder.is_dir():
        print(f"screens: {folder} is there already", file=sys.stderr)
        return Album(folder)
    rng, about = random.Random(seed), []
    aside = folder.with_name(folder.name + ".new")
    aside.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(aside / "pixels.npy", "w+", np.uint8, (count, HEIGHT, WIDTH, 3))
    with photo.open_page(SCALE) as page, tqdm(total=count, desc="screens") as progress:
        while len(about) < count:
            screens = [draw(rng.choice(TRAINED_KINDS), rng, rng.choice(LANGUAGES)) for _ in range(AT_A_TIME)]
            for screen, taken in zip(screens, photo.photograph(page, screens), strict=True):
                if len(about) == count:
                    break
                small = taken.image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
                pixels[len(about)] = np.asarray(small)
                named = zip(screen.elements, taken.boxes, strict=True)
                things = [(e.name, e.kind, [round(v) for v in box]) for e, box in named if e.name]
                about.append({"lang": screen.lang, "things": things, "words": taken.words})
                progress.update()
    pixels.flush()
    (aside / "screens.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    aside.rename(folder)
    return Album(folder)
