"""Oracles of pages where a text has to be found or worked out, and typed."""

import re
from collections.abc import Iterator

from playwright.sync_api import Page

from overlay.live.miniwob.oracles.parts import Act, asked, click, one, query, quoted, submit, typed, unique

LEFTOVER = "#popup-cancel"


def case_text(page: Page) -> str:
    text = quoted(page)[0]
    return text.upper() if "upper case" in query(page) else text.lower()


def password(page: Page) -> Iterator[Act]:
    password = quoted(page)[0]
    for field, name in (("#password", "password"), ("#verify", "verification")):
        yield click(one(field), f"Tap the {name} field")
        yield typed(password)
    yield submit()


def login(page: Page) -> Iterator[Act]:
    for field, text in zip(("username", "password"), quoted(page), strict=False):
        yield click(one(f"#{field}"), f"Tap the {field} field")
        if page.locator(LEFTOVER).count():
            yield click(one(LEFTOVER), "Cancel the popup")
            yield click(one(f"#{field}"), f"Tap the {field} field again")
        yield typed(text)
    yield submit(name=page.locator("#subbtn").inner_text())


def arithmetic(page: Page) -> str:
    a, operator, b = page.locator("#math-problem").inner_text().replace("=", "").split()
    return str({"+": int(a) + int(b), "-": int(a) - int(b), "x": int(a) * int(b)}[operator])


def algebra(page: Page) -> str:
    a, operator, b, _, result = page.locator("#math-problem").inner_text().split()
    sign = 1 if operator == "+" else -1
    return str(int(result) - sign * int(b)) if a == "x" else str(sign * (int(result) - int(a)))


def nth_word(page: Page) -> str:
    nth = int(asked(page, r"the (\d+)"))
    return re.sub("[^a-zA-Z]", "", page.locator("#area p").inner_text().split()[nth - 1])


def table_value(page: Page) -> str:
    key = asked(page, r"value of (.*) into")
    return page.locator("#tab tr", has=page.get_by_text(key, exact=True)).locator("td").nth(1).inner_text()


def blocks(page: Page) -> str:
    return str(page.locator(".addition-block").count())


def search(page: Page) -> Iterator[Act]:
    name = quoted(page)[0]
    nth = int(asked(page, r"the (\d+)(?:st|nd|rd|th) search result")) - 1
    yield click(one("#search-text"), "Tap the search box")
    yield typed(name)
    yield click(one("#search"), "Press Search")
    if nth >= 3:
        number = str(nth // 3 + 1)
        yield click(unique(page, "#pagination a", number), f"Go to result page {number}")
    yield click(one(f'#page-content a[data-result="{nth}"]'), f"Click result {nth + 1}")


def autocomplete(page: Page) -> Iterator[Act]:
    start, *ends = quoted(page)
    yield click(one("#tags"), "Tap the text field")
    yield typed(start)
    item = (
        "[...document.querySelectorAll('.ui-menu-item')].find(e => e.getClientRects().length"
        f" && e.textContent.endsWith({(ends or [''])[0]!r}))"
    )
    yield click(item, "Pick the fitting suggestion")
    yield submit()
