"""What oracles are made of: one action, targets that must be unique, and the commonest pages."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Page


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


def query(page: Page) -> str:
    """The instruction."""
    return page.evaluate("core.getUtterance()")


def asked(page: Page, pattern: str) -> str:
    """What the pattern, or its group where it has one, finds first in the instruction."""
    return re.findall(pattern, query(page))[0]


def quoted(page: Page) -> list[str]:
    """What stands in quotes in the instruction."""
    return re.findall(r'"([^"]*)"', query(page))


def unique(page: Page, selector: str, text: str) -> str:
    """JavaScript expression of the one visible element under `selector` whose own text is `text`."""
    expression = (
        f"[...document.querySelectorAll({selector!r})].filter(e => e.getClientRects().length"
        f" && e.textContent.trim() === {text!r})"
    )
    if page.evaluate(f"{expression}.length") != 1:
        raise Ambiguous(f"{selector} {text!r}")
    return f"{expression}[0]"


def one(selector: str) -> str:
    """JavaScript expression of the first element of `selector`."""
    return f"document.querySelector({selector!r})"


def click(element: str, plan: str) -> Act:
    """A tap on the element."""
    return Act("click", plan, element)


def typed(text: str) -> Act:
    """Typing where the focus is."""
    return Act("type", f'Type "{text}"', text=text)


def submit(selector: str = "#subbtn", name: str = "Submit") -> Act:
    """A tap on the button that ends the task."""
    return click(one(selector), f"Press {name}")


def fixed(selector: str, plan: str) -> Callable[[Page], Iterator[Act]]:
    """Tap one element, the same in every seed."""

    def oracle(page: Page) -> Iterator[Act]:
        yield click(one(selector), plan)

    return oracle


def labelled(selector: str, kind: str) -> Callable[[Page], Iterator[Act]]:
    """Click the element whose text stands in quotes in the instruction."""

    def oracle(page: Page) -> Iterator[Act]:
        name = quoted(page)[0]
        yield click(unique(page, selector, name), f'Click the {kind} "{name}"')

    return oracle


def enter(field: str, wanted: Callable[[Page], str]) -> Callable[[Page], Iterator[Act]]:
    """Type what `wanted` finds on the page into one field."""

    def oracle(page: Page) -> Iterator[Act]:
        text = wanted(page)
        yield click(one(field), "Tap the text field")
        yield typed(text)
        yield submit()

    return oracle
