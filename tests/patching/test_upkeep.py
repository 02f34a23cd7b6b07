"""The series checked, taking hand edits, and following upstream, on synthetic repositories."""

import pytest

from overlay.errors import GitError, PatchError, Refused
from overlay.patching import upkeep
from overlay.patching.__main__ import main
from overlay.patching.submodule import Submodule
from tests.patching.repositories import FILES, commit, contents, write_series


def test_check_and_refresh(made):
    root, _ = made
    submodule = Submodule(root)
    upkeep.refresh(submodule, None)
    assert upkeep.check(Submodule(root)) == []
    before = {p.name: p.read_text() for p in (root / "patches").iterdir()}
    upkeep.refresh(Submodule(root), None)
    assert before == {p.name: p.read_text() for p in (root / "patches").iterdir()}  # a refresh does not churn
    patch = root / "patches" / "0001-mend-two.patch"
    patch.write_text(patch.read_text().replace("two = 22", "two = (22"))
    problems = upkeep.check(Submodule(root))
    assert any("0002-add-file" in problem for problem in problems)  # it no longer fits


def test_refresh_folds_a_hand_edit_into_a_patch(made):
    root, _ = made
    submodule = Submodule(root)
    upkeep.refresh(submodule, None)
    submodule.apply()
    (root / "VLM-R1" / "sub" / "b.txt").write_text("x\nY\nz \n")
    with pytest.raises(Refused, match="PATCH="):
        upkeep.refresh(submodule, None)
    assert "folded into 0001-mend-two.patch" in upkeep.refresh(Submodule(root), "0001-mend-two.patch")
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
    assert any(problem in found for found in upkeep.check(Submodule(root)))


def test_upstream_check_names_the_first_that_fails(made):
    root, upstream = made
    assert "all 2 patches apply" in upkeep.upstream_check(Submodule(root))
    commit(upstream, {"a.py": "rewritten = True\n"})
    pin = Submodule(root).pin()
    with pytest.raises(PatchError, match="0001-mend-two"):
        upkeep.upstream_check(Submodule(root))
    assert Submodule(root).pin() == pin


def test_more_than_twelve_patches_are_refused(made):
    root, _ = made
    tall = "".join(f"line {n}\n" for n in range(12))
    write_series(root, [(f"{n:04d}-one.patch", "loader: one", {"a.py": tall[: n * 7]}) for n in range(1, 13)])
    for extra in ("0001-mend-two.patch", "0002-add-file.patch"):
        (root / "patches" / extra).unlink()
    assert not any("at most 12" in problem for problem in upkeep.check(Submodule(root)))
    (root / "patches" / "0013-one.patch").write_text((root / "patches" / "0012-one.patch").read_text())
    assert any(problem.startswith("13 patches, at most 12") for problem in upkeep.check(Submodule(root)))
    with pytest.raises(Refused, match="the series has 13 patches"):
        upkeep.new(Submodule(root), "area-what")


@pytest.mark.parametrize("applied", [True, False])
def test_a_new_patch_of_hand_edits(made, applied):
    """On the series' work tree as on the bare pin: the edits become the last patch, and the whole series is on."""
    root, _ = made
    upkeep.refresh(Submodule(root), None)
    before = {p.name: p.read_text() for p in (root / "patches").iterdir()}
    if applied:
        Submodule(root).apply()
    (root / "VLM-R1" / "sub" / "b.txt").write_text("x\nY\nz \n")
    said = upkeep.new(Submodule(root), "loader-write-y-large")
    assert said.startswith("wrote patches/0003-write-y-large.patch (sub/b.txt): fill in its header")
    submodule = Submodule(root)
    assert submodule.state().word == "applied"
    assert contents(root)["a.py"] == "one = 1\ntwo = 222\nthree = 3\n"
    assert contents(root)["sub/b.txt"] == "x\nY\nz \n"
    added = submodule.patches[-1]
    assert "Subject: [PATCH] loader: write y large\n" in added.text
    assert "Signed-off-by: T <t@example.org>\n" in added.text
    assert added.files == ["sub/b.txt"]
    assert added.changed_lines == 2
    assert {p.name: p.read_text() for p in (root / "patches").iterdir() if p.name in before} == before
    # It is in order as soon as somebody has filled in its header.
    assert upkeep.check(submodule) == ["0003-write-y-large.patch: its header is not filled in (TODO)"]
    added.path.write_text(added.text.replace("TODO", "it"))
    assert upkeep.check(Submodule(root)) == []
    Submodule(root).reverse()
    assert contents(root) == FILES


def test_a_new_patch_needs_edits_and_a_name(made):
    root, _ = made
    before = sorted((root / "patches").iterdir())
    for applied in (False, True):
        if applied:
            Submodule(root).apply()
        with pytest.raises(Refused, match="holds no edits"):
            upkeep.new(Submodule(root), "loader-what")
    (root / "VLM-R1" / "sub" / "b.txt").write_text("mine\n")
    for name in (None, "loader", "Loader-What", "loader-", "../loader-what"):
        with pytest.raises(Refused, match="NAME="):
            upkeep.new(Submodule(root), name)
    assert sorted((root / "patches").iterdir()) == before
    assert contents(root)["sub/b.txt"] == "mine\n"


def test_edits_that_meet_the_series_on_the_bare_pin_are_refused_and_kept(made):
    root, _ = made
    (root / "VLM-R1" / "a.py").write_text("one = 1\ntwo = 3\nthree = 3\n")  # the series has another line there
    with pytest.raises(PatchError, match=r"0003-what\.patch does not apply in a\.py"):
        upkeep.new(Submodule(root), "loader-what")
    assert contents(root)["a.py"] == "one = 1\ntwo = 3\nthree = 3\n"
    assert len(Submodule(root).patches) == 2


def snapshot(root):
    """All that a refused move must leave as it was."""
    submodule = Submodule(root)
    return (
        {p.name: p.read_text() for p in (root / "patches").iterdir()}, contents(root), submodule.pin(),
        submodule.git("rev-parse", "HEAD"), submodule.state().word, submodule.super("status", "--porcelain"),
    )  # fmt: skip


@pytest.mark.parametrize("applied", [True, False])
def test_upstream_move_follows_lines_that_moved(made, applied):
    """Twenty lines in front of the hunks, and a change in a file that the series leaves alone."""
    root, upstream = made
    if applied:
        Submodule(root).apply()
    old = Submodule(root).pin()
    new_lines = "".join(f"line_{n} = {n}\n" for n in range(20))
    to = commit(upstream, {"a.py": new_lines + FILES["a.py"], "sub/b.txt": "x\nupstream's\nz \n"})
    said = upkeep.upstream_move(Submodule(root), to)
    assert said.startswith(f"VLM-R1 is at {to[:12]} (was {old[:12]}), with 2 patches on it; written anew: 0001-mend")
    submodule = Submodule(root)
    assert (submodule.pin(), submodule.git("rev-parse", "HEAD")) == (to, to)
    assert submodule.state().word == "applied"
    assert contents(root)["a.py"] == new_lines + "one = 1\ntwo = 222\nthree = 3\n"
    assert contents(root)["sub/b.txt"] == "x\nupstream's\nz \n"
    assert upkeep.check(submodule) == []
    assert "@@ -21,3 +21,3 @@" in submodule.patches[0].text
    # Staged, not committed.
    status = submodule.super("status", "--porcelain").splitlines()
    assert status[0] == "M  VLM-R1"
    assert all(line.startswith(" M patches/") for line in status[1:])
    assert submodule.super("rev-parse", "HEAD:VLM-R1") == old
    submodule.reverse()
    assert submodule.git("status", "--porcelain") == ""
    assert upkeep.upstream_move(Submodule(root), "main") == f"VLM-R1 is at {to[:12]} already"
    # The way back that patches/README.md gives.
    for words in (["restore", "--staged", "VLM-R1"], ["restore", "patches"], ["submodule", "update", "VLM-R1"]):
        submodule.super(*words)
    assert Submodule(root).apply() == f"applied 2 patches on {old[:12]}"


def test_upstream_move_merges_around_a_changed_neighbour(made):
    """The line beside a hunk, in its context, is another one upstream: plain `git apply` gives up, a merge does not."""
    root, upstream = made
    lines = [f"line_{n} = {n}\n" for n in range(9)]
    first = commit(upstream, {"c.py": "".join(lines)})
    upkeep.upstream_move(Submodule(root), first)
    Submodule(root).super("commit", "-qam", "moved")
    changed = lines.copy()
    changed[5] = "line_5 = 'mended'\n"
    (root / "VLM-R1" / "c.py").write_text("".join(changed))
    upkeep.new(Submodule(root), "loader-mend-five")
    patch = Submodule(root).patches[-1].path
    patch.write_text(patch.read_text().replace("TODO", "it"))
    lines[3] = "line_3 = 'upstream'\n"
    changed[3] = lines[3]
    second = commit(upstream, {"c.py": "first = 0\n" + "".join(lines)})
    upkeep.upstream_move(Submodule(root), second)
    assert contents(root)["c.py"] == "first = 0\n" + "".join(changed)
    assert upkeep.check(Submodule(root)) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.py": "one = 1\ntwo = 'upstream'\nthree = 3\n"}, r"0001-mend-two\.patch does not apply in a\.py"),
        ({"new.py": "theirs = True\n"}, r"0002-add-file\.patch does not apply.*new\.py"),
        ({"a.py": "one = 1\ntwo = 22\nthree = 3\n"}, r"0001-mend-two\.patch changes nothing at .* git rm patches/0001"),
    ],
)
def test_upstream_move_names_what_conflicts_and_changes_nothing(made, files, message):
    root, upstream = made
    Submodule(root).apply()
    before = snapshot(root)
    to = commit(upstream, files)
    with pytest.raises(PatchError, match=message):
        upkeep.upstream_move(Submodule(root), to)
    assert snapshot(root) == before


def test_upstream_move_spares_the_users_own_files(made):
    root, upstream = made
    Submodule(root).apply()
    to = commit(upstream, {"runs.txt": "upstream's\n"})
    (root / "VLM-R1" / "runs.txt").write_text("mine\n")
    before = snapshot(root)
    with pytest.raises(Refused, match="cannot go to"):
        upkeep.upstream_move(Submodule(root), to)
    assert snapshot(root) == before
    (root / "VLM-R1" / "runs.txt").unlink()
    (root / "VLM-R1" / "a.py").write_text("mine\n")
    before = snapshot(root)
    with pytest.raises(Refused, match=r"a\.py"):
        upkeep.upstream_move(Submodule(root), to)
    assert snapshot(root) == before


@pytest.mark.parametrize(("name", "message"), [(None, "TO="), ("no-such-branch", "no-such-branch")])
def test_upstream_move_to_nowhere(made, name, message):
    root, _ = made
    before = snapshot(root)
    with pytest.raises((Refused, GitError), match=message):
        upkeep.upstream_move(Submodule(root), name)
    assert snapshot(root) == before


def test_the_command_line(made, monkeypatch, capsys):
    root, upstream = made
    commit(upstream, {"run.sh": "echo ho\n"})
    monkeypatch.setattr("overlay.patching.__main__.Submodule", lambda: Submodule(root))
    assert main(["new", "loader-what"]) == 1
    assert capsys.readouterr().err == "patch: VLM-R1 holds no edits: change a file of it, then call this again\n"
    (root / "VLM-R1" / "sub" / "b.txt").write_text("x\n")
    assert main(["new", "loader-what"]) == 0
    assert main(["check"]) == 1
    assert main(["upstream-move", "main"]) == 1  # a header that says nothing goes nowhere
    assert "not filled in" in capsys.readouterr().err
