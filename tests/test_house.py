"""The order of the rooms (pyproject.toml): it holds, what breaks it is found, and light rooms really are light."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.stock import ROOT

pytestmark = pytest.mark.integration
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
ROOMS = "Rooms in order"
DATA_PREP = "data_prep stands on the overlay; only the demo runs it"
BARE = "Errors, actions and patching need the standard library only"
LEVENSHTEIN = "How well actions match needs Levenshtein beside"
LIGHT = "Prompts and the client load nothing heavy"


def lint(folder):
    """(status, lines) of `lint-imports` in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", LINT], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def copied(folder):
    """`folder` with the packages and the order in it."""
    for package in ("overlay", "data_prep"):
        shutil.copytree(ROOT / package, folder / package, ignore=lambda _, names: {"tasks"} & set(names))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_rooms_are_in_order():
    status, lines = lint(ROOT)
    assert status == 0, "\n".join(lines)
    assert sum(line.split(" (")[0].endswith("KEPT") for line in lines) == 5


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("overlay/data/rows.py", "from overlay.training import stop", ROOMS),
        ("overlay/rewards/text.py", "def later():\n    from overlay.demo import chat", ROOMS),  # in a function too
        ("overlay/play/run.py", "from data_prep import convert", DATA_PREP),
        ("overlay/action/space.py", "import lmdb", BARE),
        ("overlay/patching/git.py", "import rich", BARE),
        ("overlay/action/match.py", "import PIL", LEVENSHTEIN),
        ("overlay/prompt/style.py", "import datasets", LIGHT),
        # Not the client itself, but what it stands on.
        ("overlay/data/images.py", "from overlay.data import dataset", LIGHT),
    ],
)  # fmt: skip
def test_an_import_against_the_order_is_found(module, line, contract, tmp_path):
    with open(copied(tmp_path) / module, "a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    status, lines = lint(tmp_path)
    assert status == 1
    assert [text.split(" BROKEN")[0] for text in lines if " BROKEN" in text] == [contract]


def test_a_new_room_needs_its_place(tmp_path):
    room = copied(tmp_path) / "overlay" / "attic"
    room.mkdir()
    (room / "__init__.py").touch()
    status, lines = lint(tmp_path)
    assert status == 1
    assert any("attic" in text for text in lines)


# An interpreter without installed packages: what is imported there needs none.
PACKAGELESS = """
import importlib, pkgutil, sys
sys.path.insert(0, {root!r})
for name in ("overlay.errors", "overlay.action", "overlay.patching"):
    module = importlib.import_module(name)
    for part in pkgutil.iter_modules(getattr(module, "__path__", []), name + "."):
        if part.name != "overlay.action.match":
            importlib.import_module(part.name)
"""


def test_errors_actions_and_patching_need_no_package():
    code = PACKAGELESS.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
