"""Synthetic repositories: an upstream, a superproject with it as a submodule, two patches."""

from overlay.patching.git import Git

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


def commit(folder, files, message="change"):
    git = Git(folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git("add", "-A")
    git("commit", "-q", "-m", message)
    return git("rev-parse", "HEAD")


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
