import subprocess
import sys

import pytest

from data_prep import check, convert, sample
from overlay.evaluate import difficulty, score, think
from overlay.model import adapter, processor
from overlay.serve import ask, local, server
from tests.stock import ROOT


@pytest.mark.integration
def test_help_has_the_words_of_make():
    done = subprocess.run([sys.executable, "-m", "overlay"], capture_output=True, text=True, cwd=ROOT, check=True)
    makefile = (ROOT / "Makefile").read_text()
    for line in done.stdout.splitlines():
        if line.startswith("  make "):
            assert line.split(maxsplit=2)[2] in makefile
    assert done.stdout.count("  make ") >= 6


@pytest.mark.parametrize(
    "program", [check, convert, sample, score, difficulty, think, adapter, processor, ask, local, server]
)
def test_an_unknown_flag_is_one_line(program, capsys):
    """No page of usage under another program's name."""
    assert program.main(["--such-a-flag"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("(--help tells what there is)")
