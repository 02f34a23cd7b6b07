"""The patch series: its files, their headers, the tree it makes, and its canonical export. Standard library only."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from overlay.errors import GitError, PatchError
from overlay.patching.git import Git

EXPORT = (
    "format-patch", "-N", "--zero-commit", "--full-index", "--no-signature", "--no-stat", "--no-renames", "-U1",
    "--no-base", "--no-attach", "--no-numbered-files", "--minimal", "--stdout",
)  # fmt: skip
MOST_PATCHES, MOST_FILES, MOST_LINES = 12, 2, 30
UNFILLED = "TODO"  # in a header that `make patch-new` began
_NAME = re.compile(r"\d{4}-[a-z0-9][a-z0-9-]*\.patch")
_SUBJECT = re.compile(r"Subject: \[PATCH\] [a-z0-9_-]+: [a-z]")
_STATUS = re.compile(r"^Upstream-Status: (Pending|Submitted|Backport|Inappropriate)( \[[^\]]+\])?$", re.MULTILINE)
_SAYS = {"why overlay/ cannot do it": "overlay/ cannot", "when it can be dropped": "Drop when"}


@dataclass(frozen=True)
class Patch:
    """One patch file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def header(self) -> str:
        """Everything before the diff."""
        return self.text.split("\ndiff --git ", 1)[0].removesuffix("\n---\n").rstrip()

    @property
    def files(self) -> list[str]:
        """Paths the patch touches."""
        return re.findall(r"^diff --git a/\S+ b/(\S+)$", self.text, re.MULTILINE)

    @property
    def changed_lines(self) -> int:
        """Added and removed lines."""
        return len(re.findall(r"^[+-](?!\+\+ |-- )", self.text.split("\ndiff --git ", 1)[-1], re.MULTILINE))


def load(folder: Path) -> list[Patch]:
    """The series in order of its file names."""
    return [Patch(path) for path in sorted(folder.glob("*.patch"))]


def digest(patches: list[Patch]) -> str:
    """Hash of a series."""
    return hashlib.sha256("".join(patch.text for patch in patches).encode()).hexdigest()


def lint(patches: list[Patch]) -> list[str]:
    """What is wrong with a series: its length, and each patch's name, header or size."""
    problems = [f"{patch.path.name}: {problem}" for patch in patches for problem in _lint(patch)]
    if len(patches) > MOST_PATCHES:
        problems.append(f"{len(patches)} patches, at most {MOST_PATCHES}: overlay/ or a subclass can do some of it")
    return problems


def _lint(patch: Patch) -> list[str]:
    problems = []
    if not _NAME.fullmatch(patch.path.name):
        problems.append("its name is not NNNN-subject.patch")
    if not _SUBJECT.search(patch.header):
        problems.append("its subject is not `[PATCH] area: imperative`")
    for field in ("From: ", "Date: ", "Signed-off-by: "):
        if f"\n{field}" not in patch.header:
            problems.append(f"its header lacks {field.strip()}")
    if not _STATUS.search(patch.header):
        problems.append("its header lacks Upstream-Status: Pending | Submitted | Backport | Inappropriate [reason]")
    problems += [f"its header does not say {what} ({words!r} ...)" for what, words in _SAYS.items()
                 if words not in " ".join(patch.header.split())]  # fmt: skip
    if UNFILLED in patch.header:
        problems.append(f"its header is not filled in ({UNFILLED})")
    if len(patch.files) > MOST_FILES:
        problems.append(f"it touches {len(patch.files)} files, at most {MOST_FILES}")
    if patch.changed_lines > MOST_LINES:
        problems.append(f"it changes {patch.changed_lines} lines, at most {MOST_LINES}")
    return problems


def tree_of(git: Git, base: str, patches: list[Patch], merge: bool = False) -> str:
    """Tree that the series makes of commit or tree `base`, with `merge` three-way; touches no work tree. PatchError
    names the first that fails, and its file."""
    with git.scratch(base) as scratch:
        for patch in patches:
            apply(scratch, patch, merge)
        return scratch("write-tree")


def apply(scratch: Git, patch: Patch, merge: bool = False) -> None:
    """Apply a patch to the scratch index."""
    how = ["--3way"] if merge else []
    try:
        scratch("apply", "--cached", "--whitespace=nowarn", *how, str(patch.path.resolve()))
    except GitError as error:
        conflicts = sorted({line.partition("\t")[2] for line in scratch.names("ls-files", "-u", "-z")})
        where = f" in {', '.join(conflicts)}" if conflicts else ""
        raise PatchError(f"{patch.path.name} does not apply{where} ({error})") from error


def export(
    git: Git, base: str, patches: list[Patch], fold: tuple[str, bytes] | None = None, merge: bool = False
) -> dict[str, str]:
    """The series on `base` as this version of git writes it: file name → text, "" for one that changes nothing there.
    Nothing is moved, no reference is made.

    `fold` adds a diff to the named patch; the ones after it are then merged three-way, with `merge` all are.
    """
    exported, parent = {}, base
    with git.scratch(base) as scratch:
        for patch in patches:
            name = patch.path.name
            apply(scratch, patch, merge or (fold is not None and fold[0] < name))
            if fold and fold[0] == name:
                try:
                    scratch("apply", "--cached", "--whitespace=nowarn", "--3way", "-", data=fold[1])
                except GitError as error:
                    raise PatchError(f"the edits do not go into {name} ({error}): name a later patch") from error
            commit = _commit(scratch, patch, scratch("write-tree"), parent)
            exported[name] = scratch.bytes(*EXPORT, f"{parent}..{commit}").decode()
            parent = commit
    return exported


def _commit(scratch: Git, patch: Patch, tree: str, parent: str) -> str:
    """A commit object with the patch's own author, date and message."""
    head, _, body = patch.header.partition("\n\n")
    field = dict(re.findall(r"^(From|Date|Subject): (.*)$", head.replace("\n ", " "), re.MULTILINE))  # unfolded
    name, _, mail = field["From"].rpartition(" <")
    message = f"{field['Subject'].removeprefix('[PATCH] ')}\n\n{body}\n"
    who = {"NAME": name, "EMAIL": mail.rstrip(">"), "DATE": field["Date"]}
    environment = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    return scratch("commit-tree", tree, "-p", parent, "-F", "-", data=message.encode(), **environment)
