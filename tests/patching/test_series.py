"""`make patch` and its kin as a user calls them: in a fresh clone of the last commit, on the real submodule."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDITED = "src/open-r1-multimodal/src/open_r1/trainer/grpo_trainer.py"
pytestmark = pytest.mark.integration


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def make(folder, target):
    """(exit status, all that was printed) of a make target."""
    done = subprocess.run(
        ["make", "-s", target, f"PYTHON={sys.executable}"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


def test_patch_edit_unpatch_on_the_real_submodule(clone):
    status, printed = make(clone, "patch")
    if status and "insteadOf" in printed:
        pytest.skip(f"NEEDS VLM-R1: {printed.strip()}")
    assert (status, "applied" in printed) == (0, True)
    submodule = clone / "VLM-R1"
    pin = git(clone, "ls-tree", "HEAD", "VLM-R1").split()[2]
    assert pin.startswith("90052f478646")

    def untouched():
        return git(clone, "status", "--porcelain") == "" and git(submodule, "rev-parse", "HEAD") == pin

    assert untouched()
    assert "already applied" in make(clone, "patch")[1]

    # A hand edit is refused by name, and kept.
    file = submodule / EDITED
    patched = file.read_bytes()
    file.write_bytes(patched + b"# mine\n")
    for target in ("patch", "unpatch"):
        status, printed = make(clone, target)
        assert status != 0
        assert EDITED in printed
    assert file.read_bytes() == patched + b"# mine\n"
    file.write_bytes(patched)
    assert untouched()

    assert make(clone, "unpatch")[0] == 0
    assert untouched()
    git(submodule, "add", "-u")
    assert git(submodule, "write-tree") == git(submodule, "rev-parse", "HEAD^{tree}")
    assert "pristine" in make(clone, "patch-status")[1]


def test_without_the_host_one_line_says_what_helps(clone):
    git(clone, "config", "-f", ".gitmodules", "submodule.VLM-R1.url", str(clone.parent / "nowhere.git"))
    status, printed = make(clone, "patch")
    assert status != 0
    assert "insteadOf" in printed
    assert "BACKEND=trl" in printed
    assert not (clone / "VLM-R1" / ".git").exists()
