"""Write a page from one of `templates/`: one HTML file that stands alone and needs no server."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from overlay.pages.drawing import COLOURS


@cache
def words() -> dict[str, str]:
    """What the pages say, English → Chinese: the one place for it."""
    return json.loads(files("overlay.pages").joinpath("templates", "words.json").read_text(encoding="utf-8"))


def said(text: object, tag: str = "span", attributes: str = "", **values: object) -> Markup:
    """An element that says `text` in the language that the reader chooses; `{name}` in it stands for a value.

    What `words` does not have (a name, a path) is the same in both.
    """
    english = str(text)
    both = [one.format(**values) if values else one for one in (english, words().get(english, english))]
    return Markup('<{tag} {attributes}data-en="{en}" data-zh="{zh}">{en}</{tag}>').format(
        tag=Markup(tag), attributes=Markup(attributes and attributes + " "), en=both[0], zh=both[1]
    )


def rendered(template: str, **values: Any) -> str:
    """The page that `template` makes, in which `colours` are those of the drawings and `t` is `said`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("overlay.pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["t"] = said
    return environment.get_template(template).render(colours=COLOURS, words=words(), **values)


def write_page(out: Path, template: str, **values: Any) -> None:
    """Render `template` and write it to `out`."""
    out.write_text(rendered(template, **values), encoding="utf-8", errors="replace")  # lone surrogates in completions
