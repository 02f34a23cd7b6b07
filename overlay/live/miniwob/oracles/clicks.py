"""Oracles of pages where everything is a tap: buttons, tabs, boxes, menus, trees."""

from collections.abc import Iterator

from playwright.sync_api import Page

from overlay.live.miniwob.oracles.parts import Act, Ambiguous, asked, click, one, quoted, submit, unique


def button_sequence(page: Page) -> Iterator[Act]:
    yield click(one("#subbtn"), "Click button ONE")
    yield click(one("#subbtn2"), "Click button TWO")


def button_delay(page: Page) -> Iterator[Act]:
    seconds = int(asked(page, r"wait (\d+) seconds"))
    yield click(one("#subbtn"), "Click button ONE")
    for _ in range(seconds):
        yield Act("wait", "Wait one second")
    yield click(one("#subbtn2"), "Click button TWO")


def test_transfer(page: Page) -> Iterator[Act]:
    name = asked(page, r"button (\w+)")
    yield click(unique(page, "button", name), f"Click button {name}")


def dialog(page: Page) -> Iterator[Act]:
    name = quoted(page)[0]
    selector = ".ui-dialog-titlebar-close" if name == "x" else ""
    element = one(selector) if selector else unique(page, ".ui-dialog-buttonset button", name)
    yield click(element, f'Click "{name}" in the dialog')


def tab(page: Page) -> Iterator[Act]:
    name = asked(page, r"Tab #\d")
    yield click(unique(page, "#area ul a", name), f"Click {name}")


def choices(page: Page) -> Iterator[Act]:
    names = asked(page, r"Select (.*) and click")
    for name in [] if names == "nothing" else names.split(", "):
        yield click(f"{unique(page, '#boxes label', name)}.querySelector('input')", f"Select {name}")
    yield submit()


def collapsible(page: Page) -> Iterator[Act]:
    yield click(one("#area h3"), "Expand the section")
    yield submit()


def color(page: Page) -> Iterator[Act]:
    name = asked(page, r"on the (\w+) colored")
    yield click(one(f'#area .color[data-color="{name}"]'), f"Click the {name} box")


def widget(page: Page) -> Iterator[Act]:
    kind = quoted(page)[0]
    selector = f'[data-type="{kind}"]'
    if page.locator(selector).count() != 1:
        raise Ambiguous(selector)
    yield click(one(selector), f"Click the {kind} widget")


def focus_nth(page: Page) -> Iterator[Act]:
    nth = asked(page, r"the (\d)")
    yield click(one(f"#tt{nth}"), f"Tap text field number {nth}")


def shape(page: Page) -> Iterator[Act]:
    is_text = page.evaluate("!!document.querySelector('#area_svg text')")
    if is_text:
        kind = "digit" if page.evaluate("document.querySelector('#area_svg text').textContent").isdigit() else "letter"
    else:
        tag = page.evaluate("[...document.querySelectorAll('#area_svg *')].at(-1).tagName")
        kind = {"rect": "rectangle", "circle": "circle", "polygon": "triangle", "path": "triangle"}[tag]
    yield click(one(f'[data-type="{kind}"]'), "Click the button that names the figure")


def grid(page: Page) -> Iterator[Act]:
    point = asked(page, r"\(-?\d,-?\d\)")
    yield click(f"document.getElementById({point!r})", f"Click {point} on the grid")


def tree(page: Page) -> Iterator[Act]:
    name = quoted(page)[0]
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
        yield click(folder, f'Open the folder "{page.evaluate(folder + ".textContent")}"')
    yield click(f"{found}[0]", f'Click "{name}"')


def odd_even(page: Page) -> Iterator[Act]:
    for row, text in enumerate(page.locator(".display-number").all_inner_texts()):
        kind = "odd" if int(text) % 2 else "even"
        yield click(f"document.querySelectorAll('.{kind}')[{row}]", f"Mark number {row + 1} as {kind}")
    yield submit("#submit")


def social(page: Page) -> Iterator[Act]:
    user = asked(page, r"user (@\w+)")
    action = quoted(page)[0]
    media = (
        f"[...document.querySelectorAll('.media')].filter(e => e.querySelector('.username').textContent === {user!r})"
    )
    if page.evaluate(f"{media}.length") != 1:
        raise Ambiguous(user)
    if action in ("Reply", "Retweet", "Like"):
        yield click(f"{media}[0].querySelector('.{action.lower()}')", f"Click {action} under {user}")
        return
    yield click(f"{media}[0].querySelector('.more')", f"Open the menu under {user}")
    item = f"[...{media}[0].querySelectorAll('li')].find(e => e.textContent.startsWith({action!r}))"
    yield click(item, f'Click "{action}"')
