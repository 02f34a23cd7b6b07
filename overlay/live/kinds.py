"""The kinds of pages that there are, by name."""

from overlay.live.environment import Pages
from overlay.live.miniwob.environment import PAGES as MINIWOB
from overlay.live.phone.environment import PAGES as PHONE

PAGES: dict[str, Pages] = {"miniwob": MINIWOB, "phone": PHONE}
