"""Where the VLM-R1 submodule stands, and how the patch series gets on and off its work tree. Standard library only.

    python -m overlay.patching apply|reverse|status      (make patch, unpatch, patch-status)

A state is a tree hash. `pin` is the submodule's commit in the superproject, `expected` what the series makes of it in a
temporary index, `actual` what the work tree holds. Nothing is ever committed in the submodule, and nothing here moves
the gitlink. A change is written file by file, each by an atomic rename, under a journal in the submodule's git
directory: killed at any moment, the next call finishes it.
"""

import fcntl
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from overlay.errors import GitError, Refused
from overlay.patching import series
from overlay.patching.git import Git

ROOT = Path(__file__).resolve().parents[2]
NAME = "VLM-R1"
MARK = ".patched"  # in an exported tree without git: overlay.patching.export
LAST, JOURNAL, LOCK, ASIDE = "overlay-applied-tree", "overlay-journal.json", "overlay.lock", "overlay-aside"


@dataclass(frozen=True)
class State:
    """Where the submodule stands. `word`: pristine, applied, older, interrupted, modified or moved. `base`: the tree
    that the work tree has, or, when it is modified, the one of ours that it is nearest to; `files` differ from it."""

    word: str
    pin: str
    pin_tree: str
    expected: str
    actual: str
    base: str = ""
    files: tuple[str, ...] = ()


class Submodule:
    """The VLM-R1 submodule of the repository at `root`, with the series in `root/patches`."""

    def __init__(self, root: Path = ROOT, name: str = NAME):
        self.root, self.name, self.folder = root, name, root / name
        self.super, self.git = Git(root), Git(self.folder)
        self.patches = series.load(root / "patches")

    @property
    def present(self) -> bool:
        """Whether the submodule has been initialised."""
        return (self.folder / ".git").exists()

    def pin(self) -> str:
        """The commit that the superproject's index names."""
        mode, commit, *_ = (self.super("ls-files", "-s", "--", self.name) or "none none").split()
        if mode != "160000":
            raise Refused(f"{self.name} is no submodule of {self.root}")
        return commit

    def own(self, file: str) -> Path:
        """A file of ours in the submodule's git directory."""
        return Path(self.git("rev-parse", "--path-format=absolute", "--git-path", file))

    def initialise(self) -> None:
        """Fetch the submodule; on failure nothing is left half done, and the message says what helps."""
        if self.present:
            return
        url = self.super("config", "-f", ".gitmodules", f"submodule.{self.name}.url")
        try:
            self.super("submodule", "update", "--init", "--", self.name)
        except GitError as error:
            self.super("submodule", "deinit", "-f", "--", self.name)
            raise Refused(
                f"{url} cannot be had ({error}). Behind a mirror: git config --global url.<mirror>.insteadOf {url}; "
                "without VLM-R1: BACKEND=trl"
            ) from error

    def state(self) -> State:
        """Read where the submodule stands; changes nothing."""
        pin = self.pin()
        head = self.git("rev-parse", "HEAD")
        if head != pin:
            return State("moved", pin, "", "", head)
        pin_tree = self.git("rev-parse", f"{pin}^{{tree}}")
        expected = series.tree_of(self.git, pin, self.patches)
        with self.git.scratch() as scratch:
            scratch("add", "-u")
            actual = scratch("write-tree")
        last = self.own(LAST).read_text() if self.own(LAST).exists() else pin_tree
        if self.own(JOURNAL).exists():
            word, base = "interrupted", expected
        elif actual in (pin_tree, expected):
            word, base = ("applied" if actual == expected else "pristine"), actual
        elif actual == last:
            word, base = "older", actual
        else:
            word, base = "modified", min((expected, last, pin_tree), key=lambda tree: len(self.diff(tree, actual)))
        return State(word, pin, pin_tree, expected, actual, base, tuple(self.between(base, actual)))

    def apply(self) -> str:
        """Bring the series on; says what was done. Raises Refused, having changed nothing."""
        self.initialise()
        with self.alone():
            now = self.settled()
            if now.word == "applied":
                return f"already applied: {len(self.patches)} patches on {now.pin[:12]}"
            self.move(now.actual, now.expected, now.pin_tree)
            return f"applied {len(self.patches)} patches on {now.pin[:12]}"

    def reverse(self) -> str:
        """Take the series off: the work tree is the pin's again. Raises Refused, having changed nothing."""
        if not self.present:
            return f"{self.name} is not there: nothing to take off"
        with self.alone():
            now = self.settled()
            if now.actual == now.pin_tree:
                return f"not applied: {self.name} is {now.pin[:12]}"
            self.move(now.actual, now.pin_tree, now.pin_tree)
            return f"taken off: {self.name} is {now.pin[:12]} again"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time; the kernel lets go of the lock of one that is killed."""
        with open(self.own(LOCK), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Refused(f"another process is patching {self.name}; wait for it") from error
            yield

    def settled(self) -> State:
        """A state we may move from; an interrupted move is finished first."""
        if self.own(JOURNAL).exists():
            journal = json.loads(self.own(JOURNAL).read_text())
            self.own("index.lock").unlink(missing_ok=True)  # of the git that died with the interrupted process
            self.move(journal["from"], journal["to"], self.git("rev-parse", f"{self.pin()}^{{tree}}"))
        now = self.state()
        if now.word == "moved":
            raise Refused(
                f"{self.name} is at {now.actual[:12]}, not at the pin {now.pin[:12]}: "
                f"git submodule update -- {self.name}"
            )
        if now.word == "modified":
            raise Refused(
                f"{self.name} holds changes that are not the series': {', '.join(now.files)}. Keep them with "
                "`make patch-new NAME=<area-what>` or `make patch-refresh PATCH=<file>`, or drop them with "
                f"`git -C {self.name} checkout -- <file>`"
            )
        return now

    def diff(self, old: str, new: str) -> bytes:
        """What `git apply` makes tree `new` of tree `old` with."""
        return self.git.bytes("diff-tree", "-p", "--binary", "--full-index", "--no-renames", old, new)

    def between(self, old: str, new: str) -> list[str]:
        """Paths that differ between two trees."""
        return self.git.names("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new) if old != new else []

    def move(self, old: str, new: str, pin_tree: str) -> None:
        """Turn the work tree and index from tree `old` into `new`; every file must hold one or the other."""
        paths = self.between(old, new)
        before, after = self._entries(old, paths), self._entries(new, paths)
        foreign = [path for path in paths if self._held(path) not in (before.get(path), after.get(path))]
        if foreign:
            raise Refused(f"{self.name} holds changes that are not the series': {', '.join(foreign)}")
        self.write(self.own(JOURNAL), json.dumps({"from": old, "to": new}).encode())
        for path in paths:
            if path in after:
                mode, blob = after[path]
                self.write(self.folder / path, self.git.bytes("cat-file", "blob", blob), int(mode, 8) & 0o777)
            else:
                (self.folder / path).unlink(missing_ok=True)
        self.git("read-tree", new)
        self.git("update-index", "-q", "--really-refresh")
        if new == pin_tree:
            self.own(LAST).unlink(missing_ok=True)
        else:
            self.write(self.own(LAST), new.encode())
        self.own(JOURNAL).unlink()

    def _entries(self, tree: str, paths: list[str]) -> dict[str, tuple[str, str]]:
        """(mode, blob) of those of `paths` that the tree has."""
        if not paths:
            return {}
        listed = self.git.names("ls-tree", "-r", "-z", tree, "--", *paths)
        return {path: (mode, blob) for line in listed for (mode, _, blob), path in [_split(line)]}

    def _held(self, path: str) -> tuple[str, str] | None:
        """(mode, blob) of a file in the work tree, None when there is none."""
        file = self.folder / path
        if not file.is_file():
            return None
        mode = "100755" if file.stat().st_mode & stat.S_IXUSR else "100644"
        return mode, self.git("hash-object", "--no-filters", "--", path)

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Replace a file by an atomic rename; what a kill leaves behind lies in the git directory, not beside it."""
        aside = self.own(ASIDE)
        aside.write_bytes(data)
        aside.chmod(mode)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside, path)

    def unpack(self, folder: Path, part: str, hooks: bool = True) -> None:
        """Write `part` of the patched tree into another folder; the work tree stays as it is. Without `hooks`: only the
        repairs, patches that do not hand over to this project."""
        self.initialise()
        chosen = [patch for patch in self.patches if hooks or "[PATCH] hooks:" not in patch.header]
        tree = series.tree_of(self.git, self.pin(), chosen)
        archive = io.BytesIO(self.git.bytes("archive", "--format=tar", tree, part))
        with tarfile.open(fileobj=archive) as files:
            files.extractall(folder, filter="data")


def _split(line: str) -> tuple[list[str], str]:
    meta, path = line.split("\t", 1)
    return meta.split(), path
