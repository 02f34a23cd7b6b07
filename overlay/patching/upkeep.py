"""Keep the series in order: check it, put hand edits into it, follow upstream. Standard library only.

    python -m overlay.patching check|refresh [PATCH]|new NAME|upstream-check|upstream-move COMMIT
    (make patch-check, patch-refresh, patch-new, upstream-check, upstream-move)

Every result is worked out in temporary indexes before a file is written: a call that is refused has changed nothing.
"""

import re
import tempfile
from email.utils import formatdate
from pathlib import Path

from overlay.errors import GitError, PatchError, Refused
from overlay.patching import series
from overlay.patching.git import Git
from overlay.patching.submodule import State, Submodule

NEW = re.compile(r"(?P<area>[a-z0-9_]+)-(?P<what>[a-z][a-z0-9-]*[a-z0-9])")
SKELETON = f"""From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: {{who}}
Date: {{date}}
Subject: [PATCH] {{subject}}

{series.UNFILLED}: what is wrong upstream, and what it costs.
overlay/ cannot do it: {series.UNFILLED}.
Drop when {series.UNFILLED}.

Upstream-Status: Pending
Signed-off-by: {{who}}

"""


def check(submodule: Submodule) -> list[str]:
    """Problems of the series: headers, sizes, whether it applies and is as git exports it, whether Python compiles."""
    submodule.initialise()
    git, pin, patches = submodule.git, submodule.pin(), submodule.patches
    problems = series.lint(patches)
    try:
        tree = series.tree_of(git, pin, patches)
    except PatchError as error:
        return [*problems, str(error)]
    if problems:  # an export needs whole headers
        return problems
    exported = series.export(git, pin, patches)
    problems = [
        f"{patch.path.name}: not as git exports it; make patch-refresh"
        for patch in patches
        if exported[patch.path.name] != patch.text
    ]
    return problems + _syntax_errors(git, tree, patches)


def _syntax_errors(git: Git, tree: str, patches: list[series.Patch]) -> list[str]:
    """Python files that the series touches and that do not compile in its tree."""
    problems = []
    for path in sorted({file for patch in patches for file in patch.files if file.endswith(".py")}):
        try:
            compile(git.bytes("cat-file", "blob", f"{tree}:{path}"), path, "exec")
        except SyntaxError as error:
            problems.append(f"{path}:{error.lineno}: {error.msg}")
    return problems


def refresh(submodule: Submodule, name: str | None) -> str:
    """Write the series anew as git exports it, with the work tree's own changes folded into patch `name`."""
    submodule.initialise()
    with submodule.alone():
        now, fold = _steady(submodule), None
        known = [patch.path.name for patch in submodule.patches]
        if name and name not in known:
            raise Refused(f"PATCH={name}: no patch of the series (known: {', '.join(known)})")
        if now.word == "modified":
            if name not in known:
                raise Refused(
                    f"{submodule.name} has changes in {', '.join(now.files)}: name the patch they belong to, "
                    f"PATCH=<one of {', '.join(known)}>"
                )
            fold = (name, submodule.diff(now.base, now.actual))
        exported = series.export(submodule.git, now.pin, submodule.patches, fold)
        _write(submodule, exported)
        if fold:
            _settle(submodule, now)
    return f"wrote {len(exported)} patches" + (f", {', '.join(now.files)} folded into {name}" if fold else "")


def new(submodule: Submodule, name: str | None) -> str:
    """Make a last patch `NNNN-<what>.patch` of the hand edits of the work tree, its header still to be filled in."""
    match, count = NEW.fullmatch(name or ""), len(submodule.patches)
    if match is None:
        raise Refused(f"NAME={name or ''}: give <area>-<what it does>, small letters: trainer-keep-the-seed")
    if count >= series.MOST_PATCHES:
        raise Refused(f"the series has {count} patches, at most {series.MOST_PATCHES}: move one into overlay/ first")
    submodule.initialise()
    with submodule.alone():
        now = _steady(submodule)
        if now.word != "modified":
            raise Refused(f"{submodule.name} holds no edits: change a file of it, then call this again")
        last = max((int(patch.path.name[:4]) for patch in submodule.patches), default=0)
        file = f"{last + 1:04d}-{match['what']}.patch"
        who = submodule.super("var", "GIT_AUTHOR_IDENT").rsplit(" ", 2)[0]
        subject = f"{match['area']}: {match['what'].replace('-', ' ')}"
        header = SKELETON.format(who=who, date=formatdate(localtime=True), subject=subject)
        with tempfile.TemporaryDirectory(prefix="patching-") as folder:
            added = series.Patch(Path(folder) / file)
            added.path.write_bytes(header.encode() + submodule.diff(now.base, now.actual))
            text = series.export(submodule.git, now.pin, [*submodule.patches, added], merge=True)[file]
        if not text:
            raise Refused(f"the edits in {', '.join(now.files)} are in the series already: make patch")
        _write(submodule, {file: text})
        _settle(submodule, now)
    edited = ", ".join(now.files)
    return f"wrote patches/{file} ({edited}): fill in its header ({series.UNFILLED}), then make patch-check"


def upstream_check(submodule: Submodule) -> str:
    """Apply the series to upstream's newest commit in a temporary index. Raises PatchError, GitError."""
    submodule.initialise()
    newest = _fetched(submodule, "HEAD")
    series.tree_of(submodule.git, newest, submodule.patches)
    return f"all {len(submodule.patches)} patches apply to upstream's {newest[:12]}"


def upstream_move(submodule: Submodule, name: str | None) -> str:
    """Take the pin to upstream's commit `name` (a full hash, branch or tag), the series merged three-way onto it.

    The patches are written anew, the work tree is that commit with the series, the gitlink is staged; nothing is
    committed. PatchError names the first patch and the file that do not merge.
    """
    if not name or name.startswith("-"):
        raise Refused(f"TO={name or '<commit>'}: a full hash, a branch or a tag of upstream")
    submodule.initialise()
    git, patches = submodule.git, submodule.patches
    target = _fetched(submodule, name)
    with submodule.alone():
        now = submodule.settled()
        if target == now.pin:
            return f"{submodule.name} is at {target[:12]} already"
        moved = _merged(submodule, target)
        submodule.move(now.actual, now.pin_tree, now.pin_tree)
        try:
            git("checkout", "--quiet", "--detach", target)
        except GitError as error:  # a file of the user's is in the way
            submodule.move(now.pin_tree, now.actual, now.pin_tree)
            raise Refused(f"{submodule.name} cannot go to {target[:12]}: {error}") from error
        changed = [patch.path.name for patch in patches if moved[patch.path.name] != patch.text]
        _write(submodule, moved)
        submodule.super("update-index", "--cacheinfo", f"160000,{target},{submodule.name}")
        tree = git("rev-parse", f"{target}^{{tree}}")
        submodule.move(tree, submodule.state().expected, tree)
    return (
        f"{submodule.name} is at {target[:12]} (was {now.pin[:12]}), with {len(patches)} patches on it; written anew: "
        f"{', '.join(changed) or 'none'}. Staged: {submodule.name}. Next: make test, git diff patches, then "
        f"git add patches && git commit"
    )


def _merged(submodule: Submodule, target: str) -> dict[str, str]:
    """The series on `target`: file name → text. Raises PatchError when it cannot be used there as it is."""
    git, patches = submodule.git, submodule.patches
    problems = series.lint(patches)  # an export needs whole headers
    tree = series.tree_of(git, target, patches, merge=True)
    moved = series.export(git, target, patches, merge=True)
    for file in [file for file, text in moved.items() if not text]:
        problems.append(f"{file} changes nothing at {target[:12]}, where upstream has it: git rm patches/{file}")
    problems += [] if problems else _syntax_errors(git, tree, patches)
    if problems:
        raise PatchError(problems[0])
    return moved


def _fetched(submodule: Submodule, name: str) -> str:
    """Hash of upstream's commit `name`; one that is here already needs no network."""
    try:
        submodule.git("fetch", "--quiet", "origin", name)
        return submodule.git("rev-parse", "FETCH_HEAD^{commit}")
    except GitError as error:
        try:
            return submodule.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except GitError:
            raise error from None


def _steady(submodule: Submodule) -> State:
    now = submodule.state()
    if now.word in ("moved", "interrupted"):
        raise Refused(f"{submodule.name} is {now.word}: make patch first")
    return now


def _write(submodule: Submodule, texts: dict[str, str]) -> None:
    for file, text in texts.items():
        submodule.write(submodule.root / "patches" / file, text.encode())
    submodule.patches = series.load(submodule.root / "patches")


def _settle(submodule: Submodule, before: State) -> None:
    """Bring the work tree, whose edits are in the series now, to what the series makes."""
    submodule.move(before.actual, submodule.state().expected, before.pin_tree)
