"""What the documents tell one to type is there: make's goals and their variables, flags, files that are linked to."""

import re
from functools import cache

import pytest

from tests.stock import ROOT
from tools.given import goals_of, read_by

PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "CHANGELOG.md"})
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
CHINESE = sorted(ROOT.glob("docs/zh/*.md"))
SOURCES = ("overlay/**/*.py", "data_prep/**/*.py", "benchmarks/*.py", "tools/*.py", "run_scripts/*", "docker/*")
CODE = re.compile(r"```[^`]*```|`[^`\n]+`|^    [^ \n][^\n]*$", re.MULTILINE)
# Of vLLM, torchrun, docker, kubectl and Slurm: their own documents say them.
FOREIGN = {
    "--enable-scale-out", "--weight-transfer-config", "--logprobs-mode", "--max-logprobs", "--limit-mm-per-prompt",
}  # fmt: skip


@cache
def known_flags():
    """Every flag that some code of ours or docs/arguments.md has, with underscores."""
    text = "\n".join(path.read_text(encoding="utf-8") for each in SOURCES for path in ROOT.glob(each) if path.is_file())
    text += (ROOT / "docs" / "arguments.md").read_text(encoding="utf-8")
    return {flag.replace("-", "_") for flag in re.findall(r"--[a-z][\w-]+", text)}


def typed(page):
    """What a page shows as code."""
    return CODE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_goals_and_their_variables_exist(page):
    goals = goals_of((ROOT / "Makefile").read_text(encoding="utf-8"))
    for code in typed(page):
        for line in code.strip("`").splitlines():
            said = re.sub(r'"[^"]*("|$)', "", line.partition("  #")[0])
            for goal, rest in re.findall(r"(?<![\w-])make ([a-z][a-z-]+)([^;|]*)", said):
                assert goal in goals, line
                given = set(re.findall(r"(?<![\w-])([A-Z][A-Z_]+)=", rest))
                assert given <= read_by(goal, goals) | {"VENV", "RUNS", "ARGS"}, line


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_flags_exist(page):
    if page.name == "refusals.md":  # wrong on purpose, and run by tests/test_refusals.py
        return
    said = {flag for code in typed(page) for flag in re.findall(r"(?<![\w-])--[a-z][\w-]+", code)} - FOREIGN
    assert {flag for flag in said if flag.replace("-", "_") not in known_flags()} == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_the_chinese_says_what_the_english_says(page):
    """All that it shows as code stands in the English page too, and it has a heading for each of most of that's."""
    english = (ROOT / "docs" / page.name).read_text(encoding="utf-8")
    plain = " ".join(english.split())
    for code in typed(page):
        for line in code.strip("`").strip().splitlines():
            shown = " ".join(line.split("  #")[0].split())
            assert shown in plain, shown
    headings = [len(re.findall(r"^## ", text, re.MULTILINE)) for text in (page.read_text(encoding="utf-8"), english)]
    assert headings[0] >= 0.7 * headings[1]
