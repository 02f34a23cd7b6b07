"""What a person would do on each MiniWoB++ page, as a stream of actions.

An oracle is a generator `(page) -> Iterator[Act]`. It reads the instruction and the DOM; whether it is right is for
the page's own reward to say (solve.py keeps an episode only when that reward is 1). `ORACLES` maps the page's name to
its oracle. A page state whose target is not unique raises `Ambiguous`, and the seed is passed over.
"""

from collections.abc import Callable, Iterator

from playwright.sync_api import Page

from overlay.live.miniwob.oracles import clicks, scrolls, texts
from overlay.live.miniwob.oracles.parts import Act, enter, fixed, labelled, quoted

HELD_OUT_TYPES = (  # task types that the demo never trains on
    "click-checkboxes-transfer", "click-tab-2-easy", "click-test-transfer", "enter-text-dynamic", "identify-shape",
    "simple-algebra", "unicode-test",
)  # fmt: skip
ORACLES: dict[str, Callable[[Page], Iterator[Act]]] = {
    "button-delay": clicks.button_delay,
    "click-button": labelled("#area button", "button"),
    "click-button-sequence": clicks.button_sequence,
    "click-checkboxes": clicks.choices,
    "click-checkboxes-transfer": clicks.choices,
    "click-collapsible": clicks.collapsible,
    "click-color": clicks.color,
    "click-dialog-2": clicks.dialog,
    "click-link": labelled(".alink", "link"),
    "click-option": clicks.choices,
    "click-tab": clicks.tab,
    "click-tab-2-easy": labelled(".alink", "link"),
    "click-test": fixed("#subbtn", "Click the button"),
    "click-test-2": fixed("#subbtn", "Click button ONE"),
    "click-test-transfer": clicks.test_transfer,
    "click-widget": clicks.widget,
    "enter-password": texts.password,
    "enter-text": enter("#tt", lambda page: quoted(page)[0]),
    "enter-text-2": enter("#tt", texts.case_text),
    "enter-text-dynamic": enter("#tt", lambda page: quoted(page)[0]),
    "find-word": enter("#answer-input", texts.nth_word),
    "focus-text": fixed("#tt", "Tap the text field"),
    "focus-text-2": clicks.focus_nth,
    "grid-coordinate": clicks.grid,
    "identify-shape": clicks.shape,
    "login-user": texts.login,
    "login-user-popup": texts.login,
    "navigate-tree": clicks.tree,
    "odd-or-even": clicks.odd_even,
    "read-table": enter("#tt", texts.table_value),
    "scroll-text": scrolls.last_word,
    "scroll-text-2": scrolls.scroll_text,
    "search-engine": texts.search,
    "simple-algebra": enter("#math-answer", texts.algebra),
    "simple-arithmetic": enter("#math-answer", texts.arithmetic),
    "social-media": clicks.social,
    "unicode-test": labelled("#area button", "button"),
    "use-autocomplete-nodelay": texts.autocomplete,
    "visual-addition": enter("#math-answer", texts.blocks),
}
