"""Synthetic repositories for the patch machine, and git settings of their own."""

import pytest

from overlay.patching.git import Git
from tests.patching.repositories import FILES, commit, write_series


@pytest.fixture
def git_settings(monkeypatch, tmp_path):
    """An own git configuration: file:// submodules allowed, an author, nothing of the machine's."""
    config = tmp_path / "gitconfig"
    config.write_text('[protocol "file"]\nallow = always\n[user]\nname = T\nemail = t@example.org\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def made(git_settings, tmp_path):
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
