"""Plots of the pages, as inline SVG whose texts speak the reader's language."""

import html
import io
import re

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from overlay.pages.render import words

_TEXT = re.compile(r"(<text [^>]*)>([^<]*)</text>")


def svg(figure: plt.Figure) -> str:
    """The figure's SVG element, the same for the same figure; the figure is closed."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pages"}):  # texts stay texts
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    drawn = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    return _TEXT.sub(_both, drawn)


def _both(found: re.Match[str]) -> str:
    """A text with what it is in both languages, where the pages' words have it."""
    head, text = found.groups()
    plain, bracket, rule = html.unescape(text).partition(" (")
    chinese = words().get(plain + bracket + rule) or (words().get(plain) and words()[plain] + bracket + rule)
    return found[0] if not chinese else f'{head} data-en="{text}" data-zh="{html.escape(chinese)}">{text}</text>'
