"""make help and what the launchers refuse, in the user's language."""

import os
import re
import subprocess

import pytest

from tests.stock import ROOT

FILE = ROOT / "run_scripts" / "zh.tsv"
WORDS = dict(line.split("\t") for line in FILE.read_text(encoding="utf-8").splitlines())
SCRIPTS = [ROOT / "run_scripts" / name for name in ("run_grpo_gui.sh", "run_grpo_gui_multinode.sh", "settings.sh")]


def formats():
    """What the scripts refuse with, as they write it."""
    found = re.findall(r'fail "([^"]+)"', "".join(path.read_text(encoding="utf-8") for path in SCRIPTS))
    return {text.replace("${NNODES:+nodes x }", part) for text in found for part in ("", "nodes x ")}


def helped():
    """What the Makefile says of its goals, and its headings."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {
        *re.findall(r"^[a-z-]+:.*?## (.*)$", makefile, re.MULTILINE),
        *re.findall(r"^##@ (.*)$", makefile, re.MULTILINE),
    }


def test_everything_is_there_and_nothing_else():
    assert WORDS.keys() == formats() | helped()
    assert all("$" not in text for text in WORDS)
    for english, chinese in WORDS.items():
        assert english.count("%s") == chinese.count("%s"), english
        assert re.findall(r"\b[A-Z_]{3,}=", english) == re.findall(r"\b[A-Z_]{3,}=", chinese), english


def said(command, **variables):
    """(status, standard output and error) of a command, in an environment without a language but what is given."""
    bare = {name: value for name, value in os.environ.items() if name != "LANG" and not name.startswith("LC_")}
    done = subprocess.run(command, cwd=ROOT, env=bare | variables, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "BATCH=two: a whole number of at least 1"),
        ({"LANG": "en_US.UTF-8"}, "BATCH=two: a whole number of at least 1"),
        ({"LANG": "zh_CN.UTF-8"}, "BATCH=two：应为至少是 1 的整数"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "BATCH=two: a whole number of at least 1"),
        ({"LANG": "C", "LC_ALL": "zh_TW"}, "BATCH=two：应为至少是 1 的整数"),
    ],
)
def test_a_refusal_is_in_the_users_language(variables, told):
    status, text = said(["bash", "run_scripts/run_grpo_gui.sh"], BATCH="two", DRY_RUN="1", **variables)
    *warnings, last = text.splitlines()  # of bash, where this machine lacks the locale
    assert (status, last) == (2, f"run_grpo_gui.sh: {told}")
    assert all("setlocale" in each for each in warnings)


def test_values_are_no_formats():
    _, text = said(["bash", "run_scripts/run_grpo_gui.sh"], BACKEND="%s%d", LANG="zh_CN.UTF-8")
    assert text == "run_grpo_gui.sh: BACKEND=%s%d 不是 vlm-r1、trl、sft 之一\n"


def test_help_is_in_the_users_language():
    english, chinese = (said(["make", "help"], LANG=language)[1] for language in ("C", "zh_CN.UTF-8"))
    assert "  watch            Page that follows a run" in english
    assert "  watch            训练时实时观察的网页" in chinese
    names = [[line.split()[0] for line in text.splitlines() if line.startswith("  ")] for text in (english, chinese)]
    assert names[0] == names[1]
    assert not any(text in chinese for text in helped())
