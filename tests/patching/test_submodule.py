"""The series on and off the work tree, on synthetic repositories: refused, killed, taken up again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from overlay.errors import PatchError, Refused
from overlay.patching.git import Git
from overlay.patching.submodule import Submodule
from tests.patching.repositories import FILES, commit, contents

ROOT = Path(__file__).parents[2]


def test_apply_again_and_take_off(made):
    root, _ = made
    submodule = Submodule(root)
    pin, head = submodule.pin(), submodule.git("rev-parse", "HEAD")
    assert submodule.state().word == "pristine"
    assert submodule.apply().startswith("applied 2 patches")
    assert contents(root)["a.py"] == "one = 1\ntwo = 222\nthree = 3\n"
    assert contents(root)["new.py"] == "new = True\n"
    assert submodule.apply().startswith("already applied")
    assert submodule.state().word == "applied"
    assert submodule.super("status", "--porcelain") == ""
    submodule.super("add", "-A")
    assert submodule.super("status", "--porcelain") == ""  # the gitlink did not move
    assert submodule.reverse().startswith("taken off")
    assert contents(root) == FILES
    assert submodule.git("status", "--porcelain") == ""
    assert submodule.reverse().startswith("not applied")
    assert (submodule.pin(), submodule.git("rev-parse", "HEAD")) == (pin, head)


@pytest.mark.parametrize("patched", [False, True])
def test_a_hand_edit_is_refused_and_kept(made, patched):
    root, _ = made
    submodule = Submodule(root)
    if patched:
        submodule.apply()
    (root / "VLM-R1" / "sub" / "b.txt").write_text("mine\n")
    before = contents(root)
    for call in (submodule.apply, submodule.reverse):
        with pytest.raises(Refused, match=r"sub/b\.txt"):
            call()
    assert contents(root) == before
    assert submodule.state().files == ("sub/b.txt",)


def test_untracked_files_are_left_alone(made):
    root, _ = made
    (root / "VLM-R1" / "output.log").write_text("a run's own\n")
    submodule = Submodule(root)
    submodule.apply()
    submodule.reverse()
    assert (root / "VLM-R1" / "output.log").exists()


def test_another_commit_is_refused(made):
    root, _ = made
    commit(root / "VLM-R1", {"a.py": "moved = 1\n"})
    with pytest.raises(Refused, match="not at the pin"):
        Submodule(root).apply()


def test_an_older_series_is_replaced(made):
    root, _ = made
    Submodule(root).apply()
    (root / "patches" / "0002-add-file.patch").unlink()
    submodule = Submodule(root)
    assert submodule.state().word == "older"
    submodule.apply()
    assert contents(root)["a.py"] == "one = 1\ntwo = 22\nthree = 3\n"
    assert "new.py" not in contents(root)


def test_a_patch_that_does_not_apply_changes_nothing(made):
    root, _ = made
    patch = root / "patches" / "0002-add-file.patch"
    patch.write_text(patch.read_text().replace("-two = 22\n", "-two = 99\n"))
    submodule = Submodule(root)
    with pytest.raises(PatchError, match="0002-add-file"):
        submodule.apply()
    assert contents(root) == FILES


def test_two_at_once_are_refused(made):
    root, _ = made
    submodule = Submodule(root)
    with submodule.alone(), pytest.raises(Refused, match="another process"):
        Submodule(root).apply()


KILLED = """
import os, signal, sys
from pathlib import Path
import overlay.patching.submodule as patching
submodule = patching.Submodule(Path(sys.argv[1]))
left = int(sys.argv[3])
def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
write, git = submodule.write, submodule.git
submodule.write = lambda *a, **k: (step(), write(*a, **k), step())
class Counting(patching.Git):
    def bytes(self, *a, **k):
        if a[0] in ("read-tree", "update-index"):
            step()
        return super().bytes(*a, **k)
submodule.git = Counting(submodule.folder)
getattr(submodule, sys.argv[2])()
"""


@pytest.mark.parametrize("command", ["apply", "reverse"])
def test_killed_at_any_moment_and_run_again(made, command):
    root, _ = made
    kills = 0
    for moment in range(1, 20):
        submodule = Submodule(root)
        submodule.reverse() if command == "apply" else submodule.apply()
        done = subprocess.run([sys.executable, "-c", KILLED, str(root), command, str(moment)], cwd=ROOT, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        kills += 1
        getattr(Submodule(root), command)()
        assert Submodule(root).state().word == ("applied" if command == "apply" else "pristine")
        assert submodule.git("status", "--porcelain", "--untracked-files=all").count("??") == 0
    assert kills >= 6


def test_an_edit_during_the_interruption_is_refused(made):
    root, _ = made
    subprocess.run([sys.executable, "-c", KILLED, str(root), "apply", "4"], cwd=ROOT, check=False)
    assert Submodule(root).state().word == "interrupted"
    (root / "VLM-R1" / "a.py").write_text("mine\n")
    with pytest.raises(Refused, match=r"a\.py"):
        Submodule(root).apply()
    assert contents(root)["a.py"] == "mine\n"


def test_a_host_out_of_reach_leaves_nothing_half_done(made, tmp_path):
    root, upstream = made
    clone = tmp_path / "clone"
    Git(tmp_path)("clone", "-q", str(root), str(clone))
    before = (clone / ".git" / "config").read_text()
    upstream.rename(tmp_path / "gone")
    with pytest.raises(Refused, match=r"url\.<mirror>\.insteadOf .*BACKEND=trl"):
        Submodule(clone).apply()
    assert (clone / ".git" / "config").read_text() == before
    assert list((clone / "VLM-R1").iterdir()) == []
    (tmp_path / "gone").rename(upstream)
    assert Submodule(clone).apply().startswith("applied 2")
