"""The patch machine on synthetic repositories: an upstream, a superproject with it as a submodule, two patches."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from overlay.errors import PatchError, Refused
from overlay.patching.git import Git
from overlay.patching.submodule import Submodule

ROOT = Path(__file__).parents[2]
FILES = {"a.py": "one = 1\ntwo = 2\nthree = 3\n", "sub/b.txt": "x\ny\nz \n", "run.sh": "echo hi\n"}
HEADER = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Person <a@example.org>
Date: Mon, 23 Nov 2026 10:00:00 +0000
Subject: [PATCH] {subject}

It is wrong upstream. overlay/ cannot do it: the line runs at import.
Drop when upstream has it.

Upstream-Status: Pending
Signed-off-by: A Person <a@example.org>
"""


@pytest.fixture(autouse=True)
def git_settings(monkeypatch, tmp_path):
    """An own git configuration: file:// submodules allowed, an author, nothing of the machine's."""
    config = tmp_path / "gitconfig"
    config.write_text('[protocol "file"]\nallow = always\n[user]\nname = T\nemail = t@example.org\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def commit(folder, files, message="change"):
    git = Git(folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git("add", "-A")
    git("commit", "-q", "-m", message)
    return git("rev-parse", "HEAD")


@pytest.fixture
def made(tmp_path):
    """(superproject with an initialised submodule and two patches on the same file, upstream)."""
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    Git(upstream)("init", "-q", "-b", "main")
    commit(upstream, FILES)
    root = tmp_path / "super"
    root.mkdir()
    git = Git(root)
    git("init", "-q", "-b", "main")
    git("submodule", "add", "-q", str(upstream), "VLM-R1")
    git("config", "-f", ".gitmodules", "submodule.VLM-R1.ignore", "dirty")
    (root / "patches").mkdir()
    commit(root, {})
    write_series(root, [
        ("0001-mend-two.patch", "loader: mend two", {"a.py": FILES["a.py"].replace("two = 2", "two = 22")}),
        ("0002-add-file.patch", "loader: add a file and mend again",
         {"a.py": FILES["a.py"].replace("two = 2", "two = 222"), "new.py": "new = True\n"}),
    ])  # fmt: skip
    commit(root, {})
    return root, upstream


def write_series(root, patches):
    """Patch files, each from the state the one before leaves to the given contents."""
    git = Git(root / "VLM-R1")
    tree = git("rev-parse", "HEAD^{tree}")
    for name, subject, files in patches:
        with git.scratch(tree) as scratch:
            for path, text in files.items():
                blob = scratch("hash-object", "-w", "--stdin", data=text.encode())
                scratch("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
            made = scratch("write-tree")
        diff = git.bytes("diff-tree", "-p", "--full-index", "-U1", tree, made).decode()
        (root / "patches" / name).write_text(HEADER.format(subject=subject) + "\n" + diff)
        tree = made


def contents(root):
    folder = root / "VLM-R1"
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file() and p.name != ".git"
    }


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
    with submodule._alone(), pytest.raises(Refused, match="another process"):
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
write, git = submodule._write, submodule.git
submodule._write = lambda *a, **k: (step(), write(*a, **k), step())
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


def test_check_and_refresh(made):
    root, _ = made
    submodule = Submodule(root)
    submodule.refresh(None)
    assert Submodule(root).check() == []
    before = {p.name: p.read_text() for p in (root / "patches").iterdir()}
    Submodule(root).refresh(None)
    assert before == {p.name: p.read_text() for p in (root / "patches").iterdir()}  # a refresh does not churn
    patch = root / "patches" / "0001-mend-two.patch"
    patch.write_text(patch.read_text().replace("two = 22", "two = (22"))
    problems = Submodule(root).check()
    assert any("0002-add-file" in problem for problem in problems)  # it no longer fits


def test_refresh_folds_a_hand_edit_into_a_patch(made):
    root, _ = made
    submodule = Submodule(root)
    submodule.refresh(None)
    submodule.apply()
    (root / "VLM-R1" / "sub" / "b.txt").write_text("x\nY\nz \n")
    with pytest.raises(Refused, match="PATCH="):
        submodule.refresh(None)
    assert "folded into 0001-mend-two.patch" in Submodule(root).refresh("0001-mend-two.patch")
    after = Submodule(root)
    assert after.state().word == "applied"
    assert "+Y" in after.patches[0].text
    after.reverse()
    assert contents(root) == FILES


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("Upstream-Status: Pending", "Upstream-Status: maybe"), "lacks Upstream-Status"),
        (("[PATCH] loader: mend two", "[PATCH] Mends two"), "subject is not"),
        (("Signed-off-by", "Signed"), "lacks Signed-off-by:"),
        (("overlay/ cannot do it", "because"), "why overlay/ cannot do it"),
        (("Drop when", "Keep until"), "when it can be dropped"),
    ],
)
def test_header_lint(made, change, problem):
    root, _ = made
    patch = root / "patches" / "0001-mend-two.patch"
    patch.write_text(patch.read_text().replace(*change))
    assert any(problem in found for found in Submodule(root).check())


def test_upstream_check_names_the_first_that_fails(made):
    root, upstream = made
    assert "all 2 patches apply" in Submodule(root).upstream_check()
    commit(upstream, {"a.py": "rewritten = True\n"})
    pin = Submodule(root).pin()
    with pytest.raises(PatchError, match="0001-mend-two"):
        Submodule(root).upstream_check()
    assert Submodule(root).pin() == pin


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
