import subprocess
import sys

import pytest

from tests.stock import ROOT


@pytest.mark.integration
def test_help_has_the_words_of_make():
    done = subprocess.run([sys.executable, "-m", "overlay"], capture_output=True, text=True, cwd=ROOT, check=True)
    makefile = (ROOT / "Makefile").read_text()
    for line in done.stdout.splitlines():
        if line.startswith("  make "):
            assert line.split(maxsplit=2)[2] in makefile
    assert done.stdout.count("  make ") >= 6
