"""The rooms without a model are collected without its libraries: their tests start in seconds."""

import subprocess
import sys

from tests.stock import ROOT

LIGHT = ("action", "data", "prompt", "rewards")
COLLECT = """
import sys, pytest
assert pytest.main(["--collect-only", "-q", *sys.argv[1:]]) == 0
print(sorted({"torch", "transformers", "trl"} & set(sys.modules)))
"""


def test_light_rooms_load_no_heavy_library():
    folders = [f"tests/{room}" for room in LIGHT]
    done = subprocess.run([sys.executable, "-c", COLLECT, *folders], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout[-2000:] + done.stderr
