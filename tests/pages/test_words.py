"""What the pages say stands once, in both languages."""

import re
from pathlib import Path

import pytest

from overlay.pages.render import said, words
from tests.stock import ROOT

TEMPLATES = sorted(Path(ROOT, "overlay", "pages", "templates").glob("*.html"))
SAID = re.compile(r"""\bt\("([^"]+)"(?: if [^")]+ else "([^"]+)")?|\bsay\(.*?, "([^"]+)"[,)]""")
SOURCES = [*TEMPLATES, *ROOT.glob("overlay/**/*.py"), *ROOT.glob("data_prep/preview/*.py")]
NAMES = r"[{(\w]+[})]*"


def keys(path):
    text = path.read_text(encoding="utf-8")
    return {key for found in SAID.findall(text) for key in found if key}


def test_the_templates_are_read():
    assert sum(len(keys(path)) for path in TEMPLATES) > 80


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_all_that_a_page_says_is_there_in_chinese(path):
    assert keys(path) - words().keys() == set()


def test_nothing_is_left_over_and_values_are_the_same():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    left = [key for key in words() if key not in sources and key.removeprefix("rows ") not in sources]
    assert left == []
    for english, chinese in words().items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", chinese)), english


def test_values_are_text():
    assert str(said("{name} {value}", name="<b>", value='"')) == (
        '<span data-en="&lt;b&gt; &#34;" data-zh="&lt;b&gt; &#34;">&lt;b&gt; &#34;</span>'
    )
    assert str(said("not {known}")) == '<span data-en="not {known}" data-zh="not {known}">not {known}</span>'
