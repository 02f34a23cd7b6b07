"""What a person would do on each MiniWoB++ page, as a stream of actions.

An oracle is a generator `(page) -> Iterator[Act]`. It reads the instruction and the DOM; whether it is right is for
the page's own reward to say (render.py keeps an episode only when that reward is 1). `ORACLES` maps the page's name to
its oracle. A page state whose target is not unique raises `Ambiguous`, and the seed is passed over.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

LEFTOVER = "#popup-cancel"


class Ambiguous(Exception):
    """The instruction fits more than one visible element, or none, in this seed."""


@dataclass
class Act:
    """One action. `element` is a JavaScript expression of the target; `plan` is its line in the task's plan."""

    type: str
    plan: str
    element: str = ""
    text: str = ""
    direction: str = ""


def _query(page: Page) -> str:
    return page.evaluate("core.getUtterance()")


def _quoted(page: Page) -> list[str]:
    return re.findall(r'"([^"]*)"', _query(page))


def _unique(page: Page, selector: str, text: str) -> str:
    """JavaScript expression of the one visible element under `selector` whose own text is `text`."""
    expression = (
        f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length"
        f" && e.textContent.trim() === {text!r})"
    )
    if page.evaluate(f"{expression}.length") != 1:
        raise Ambiguous(f"{selector} {text!r}")
    return f"{expression}[0]"


def _one(selector: str) -> str:
    return f"document.querySelector({selector!r})"


def _click(element: str, plan: str) -> Act:
    return Act("click", plan, element)


def _type(text: str) -> Act:
    return Act("type", f'Type "{text}"', text=text)


def _submit(selector: str = "#subbtn", name: str = "Submit") -> Act:
    return _click(_one(selector), f"Press {name}")


def _fixed(selector: str, plan: str) -> Callable[[Page], Iterator[Act]]:
    def oracle(page: Page) -> Iterator[Act]:
        yield _click(_one(selector), plan)

    return oracle


def _labelled(selector: str, kind: str) -> Callable[[Page], Iterator[Act]]:
    """Click the element whose text stands in quotes in the instruction."""

    def oracle(page: Page) -> Iterator[Act]:
        name = _quoted(page)[0]
        yield _click(_unique(page, selector, name), f'Click the {kind} "{name}"')

    return oracle


def _enter(field: str, wanted: Callable[[Page], str]) -> Callable[[Page], Iterator[Act]]:
    def oracle(page: Page) -> Iterator[Act]:
        text = wanted(page)
        yield _click(_one(field), "Tap the text field")
        yield _type(text)
        yield _submit()

    return oracle


def _button_sequence(page: Page) -> Iterator[Act]:
    yield _click(_one("#subbtn"), "Click button ONE")
    yield _click(_one("#subbtn2"), "Click button TWO")


def _button_delay(page: Page) -> Iterator[Act]:
    seconds = int(re.search(r"wait (\d+) seconds", _query(page)).group(1))
    yield _click(_one("#subbtn"), "Click button ONE")
    for _ in range(seconds):
        yield Act("wait", "Wait one second")
    yield _click(_one("#subbtn2"), "Click button TWO")


def _test_transfer(page: Page) -> Iterator[Act]:
    name = re.search(r"button (\w+)", _query(page)).group(1)
    yield _click(_unique(page, "button", name), f"Click button {name}")


def _dialog(page: Page) -> Iterator[Act]:
    name = _quoted(page)[0]
    selector = ".ui-dialog-titlebar-close" if name == "x" else ""
    element = _one(selector) if selector else _unique(page, ".ui-dialog-buttonset button", name)
    yield _click(element, f'Click "{name}" in the dialog')


def _tab(page: Page) -> Iterator[Act]:
    name = re.search(r"Tab #\d", _query(page)).group(0)
    yield _click(_unique(page, "#area ul a", name), f"Click {name}")


def _choices(page: Page) -> Iterator[Act]:
    names = re.search(r"Select (.*) and click", _query(page)).group(1)
    for name in [] if names == "nothing" else names.split(", "):
        yield _click(f"{_unique(page, '#boxes label', name)}.querySelector('input')", f"Select {name}")
    yield _submit()


def _collapsible(page: Page) -> Iterator[Act]:
    yield _click(_one("#area h3"), "Expand the section")
    yield _submit()


def _color(page: Page) -> Iterator[Act]:
    name = re.search(r"on the (\w+) colored", _query(page)).group(1)
    yield _click(_one(f'#area .color[data-color="{name}"]'), f"Click the {name} box")


def _widget(page: Page) -> Iterator[Act]:
    kind = _quoted(page)[0]
    selector = f'[data-type="{kind}"]'
    if page.locator(selector).count() != 1:
        raise Ambiguous(selector)
    yield _click(_one(selector), f"Click the {kind} widget")


def _focus_nth(page: Page) -> Iterator[Act]:
    nth = re.search(r"the (\d)", _query(page)).group(1)
    yield _click(_one(f"#tt{nth}"), f"Tap text field number {nth}")


def _case_text(page: Page) -> str:
    text = _quoted(page)[0]
    return text.upper() if "upper case" in _query(page) else text.lower()


def _password(page: Page) -> Iterator[Act]:
    password = _quoted(page)[0]
    for field, name in (("#password", "password"), ("#verify", "verification")):
        yield _click(_one(field), f"Tap the {name} field")
        yield _type(password)
    yield _submit()


def _login(page: Page) -> Iterator[Act]:
    for field, text in zip(("username", "password"), _quoted(page), strict=False):
        yield _click(_one(f"#{field}"), f"Tap the {field} field")
        if page.locator(LEFTOVER).count():
            yield _click(_one(LEFTOVER), "Cancel the popup")
            yield _click(_one(f"#{field}"), f"Tap the {field} field again")
        yield _type(text)
    yield _submit(name=page.locator("#subbtn").inner_text())


def _shape(page: Page) -> Iterator[Act]:
    is_text = page.evaluate("!!document.querySelector('#area_svg text')")
    if is_text:
        kind = "digit" if page.evaluate("document.querySelector('#area_svg text').textContent").isdigit() else "letter"
    else:
        tag = page.evaluate("[...document.querySelectorAll('#area_svg *')].at(-1).tagName")
        kind = {"rect": "rectangle", "circle": "circle", "polygon": "triangle", "path": "triangle"}[tag]
    yield _click(_one(f'[data-type="{kind}"]'), "Click the button that names the figure")


def _grid(page: Page) -> Iterator[Act]:
    point = re.search(r"\(-?\d,-?\d\)", _query(page)).group(0)
    yield _click(f"document.getElementById({point!r})", f"Click {point} on the grid")


def _arithmetic(page: Page) -> str:
    a, operator, b = page.locator("#math-problem").inner_text().replace("=", "").split()
    return str({"+": int(a) + int(b), "-": int(a) - int(b), "x": int(a) * int(b)}[operator])


def _algebra(page: Page) -> str:
    a, operator, b, _, result = page.locator("#math-problem").inner_text().split()
    sign = 1 if operator == "+" else -1
    return str(int(result) - sign * int(b)) if a == "x" else str(sign * (int(result) - int(a)))


def _nth_word(page: Page) -> str:
    nth = int(re.search(r"the (\d+)", _query(page)).group(1))
    return re.sub("[^a-zA-Z]", "", page.locator("#area p").inner_text().split()[nth - 1])


def _table_value(page: Page) -> str:
    key = re.search(r"value of (.*) into", _query(page)).group(1)
    return page.locator("#tab tr", has=page.get_by_text(key, exact=True)).locator("td").nth(1).inner_text()


def _blocks(page: Page) -> str:
    return str(page.locator(".addition-block").count())


def _tree(page: Page) -> Iterator[Act]:
    name = _quoted(page)[0]
    found = f"[...document.querySelectorAll('#tree span')].filter(e => e.textContent === {name!r})"
    if page.evaluate(f"{found}.length") != 1:
        raise Ambiguous(name)
    while not page.evaluate(f"{found}[0].getClientRects().length"):
        folder = (
            f"(() => {{ let e = {found}[0].parentElement; let open = e;"
            " while ((e = e.parentElement.closest('li')) !== null) { open = e;"
            " if (e.querySelector(':scope > span').getClientRects().length) break; }"
            " return open.querySelector(':scope > span'); })()"
        )
        yield _click(folder, f'Open the folder "{page.evaluate(folder + ".textContent")}"')
    yield _click(f"{found}[0]", f'Click "{name}"')


def _search(page: Page) -> Iterator[Act]:
    name = _quoted(page)[0]
    nth = int(re.search(r"the (\d+)(st|nd|rd|th) search result", _query(page)).group(1)) - 1
    yield _click(_one("#search-text"), "Tap the search box")
    yield _type(name)
    yield _click(_one("#search"), "Press Search")
    if nth >= 3:
        number = str(nth // 3 + 1)
        yield _click(_unique(page, "#pagination a", number), f"Go to result page {number}")
    yield _click(_one(f'#page-content a[data-result="{nth}"]'), f"Click result {nth + 1}")


def _odd_even(page: Page) -> Iterator[Act]:
    for row, text in enumerate(page.locator(".display-number").all_inner_texts()):
        kind = "odd" if int(text) % 2 else "even"
        yield _click(f"document.querySelectorAll('.{kind}')[{row}]", f"Mark number {row + 1} as {kind}")
    yield _submit("#submit")


def _scroll_to(page: Page, end: str) -> Iterator[Act]:
    area = _one("#text-area")
    rest = f"({area}.scrollHeight - {area}.clientHeight - {area}.scrollTop)" if end == "bottom" else f"{area}.scrollTop"
    while page.evaluate(rest) > 5:
        yield Act("swipe", f"Scroll the text to the {end}", area, direction="up" if end == "bottom" else "down")


def _scroll_text(page: Page) -> Iterator[Act]:
    yield from _scroll_to(page, re.search(r"bottom|top", _query(page)).group(0))
    yield _submit()


def _last_word(page: Page) -> Iterator[Act]:
    word = re.sub("[^a-zA-Z0-9]", "", page.evaluate("document.querySelector('#text-area').value").split()[-1])
    yield from _scroll_to(page, "bottom")
    yield _click(_one("#answer-input"), "Tap the text field")
    yield _type(word)
    yield _submit()


def _autocomplete(page: Page) -> Iterator[Act]:
    start, *ends = _quoted(page)
    yield _click(_one("#tags"), "Tap the text field")
    yield _type(start)
    item = (
        "[...document.querySelectorAll('.ui-menu-item')].find(e => e.getClientRects().length"
        f" && e.textContent.endsWith({(ends or [''])[0]!r}))"
    )
    yield _click(item, "Pick the fitting suggestion")
    yield _submit()


def _social(page: Page) -> Iterator[Act]:
    user = re.search(r"user (@\w+)", _query(page)).group(1)
    action = _quoted(page)[0]
    media = (
        f"[...document.querySelectorAll('.media')].filter(e => e.querySelector('.username').textContent === {user!r})"
    )
    if page.evaluate(f"{media}.length") != 1:
        raise Ambiguous(user)
    if action in ("Reply", "Retweet", "Like"):
        yield _click(f"{media}[0].querySelector('.{action.lower()}')", f"Click {action} under {user}")
        return
    yield _click(f"{media}[0].querySelector('.more')", f"Open the menu under {user}")
    item = f"[...{media}[0].querySelectorAll('li')].find(e => e.textContent.startsWith({action!r}))"
    yield _click(item, f'Click "{action}"')


ORACLES: dict[str, Callable[[Page], Iterator[Act]]] = {
    "button-delay": _button_delay,
    "click-button": _labelled("#area button", "button"),
    "click-button-sequence": _button_sequence,
    "click-checkboxes": _choices,
    "click-checkboxes-transfer": _choices,
    "click-collapsible": _collapsible,
    "click-color": _color,
    "click-dialog-2": _dialog,
    "click-link": _labelled(".alink", "link"),
    "click-option": _choices,
    "click-tab": _tab,
    "click-tab-2-easy": _labelled(".alink", "link"),
    "click-test": _fixed("#subbtn", "Click the button"),
    "click-test-2": _fixed("#subbtn", "Click button ONE"),
    "click-test-transfer": _test_transfer,
    "click-widget": _widget,
    "enter-password": _password,
    "enter-text": _enter("#tt", lambda page: _quoted(page)[0]),
    "enter-text-2": _enter("#tt", _case_text),
    "enter-text-dynamic": _enter("#tt", lambda page: _quoted(page)[0]),
    "find-word": _enter("#answer-input", _nth_word),
    "focus-text": _fixed("#tt", "Tap the text field"),
    "focus-text-2": _focus_nth,
    "grid-coordinate": _grid,
    "identify-shape": _shape,
    "login-user": _login,
    "login-user-popup": _login,
    "navigate-tree": _tree,
    "odd-or-even": _odd_even,
    "read-table": _enter("#tt", _table_value),
    "scroll-text": _last_word,
    "scroll-text-2": _scroll_text,
    "search-engine": _search,
    "simple-algebra": _enter("#math-answer", _algebra),
    "simple-arithmetic": _enter("#math-answer", _arithmetic),
    "social-media": _social,
    "unicode-test": _labelled("#area button", "button"),
    "use-autocomplete-nodelay": _autocomplete,
    "visual-addition": _enter("#math-answer", _blocks),
}
