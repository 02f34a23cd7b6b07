"""Write a page from one of `templates/`: one HTML file that stands alone and needs no server."""

from pathlib import Path
from typing import Any

import jinja2

from overlay.pages.drawing import COLOURS


def write_page(out: Path, template: str, **values: Any) -> None:
    """Render `template`, in which `colours` are those of the drawings, and write it to `out`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("overlay.pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template).render(colours=COLOURS, **values)
    out.write_text(page, encoding="utf-8", errors="replace")  # lone surrogates of hostile completions
