"""The project as files without git, for an image: what is committed here, and VLM-R1/ with its patches.

    python -m overlay.patching.export FOLDER      (make docker)

Only tracked files are written, so nothing private of the work tree gets into an image. `VLM-R1/.patched` says which
series was put on: `overlay.patching status` compares it with `patches/` where there is no git.
"""

import io
import sys
import tarfile
from pathlib import Path

from overlay.errors import Arguments, Refused, command
from overlay.patching import series
from overlay.patching.git import Git
from overlay.patching.submodule import MARK, NAME, ROOT, Submodule


def export(folder: Path, root: Path = ROOT) -> str:
    """Write the commit at HEAD and the patched submodule into `folder`, which must not exist; says what was written.

    Raises Refused when tracked files were changed, for the image would not be the commit's.
    """
    git = Git(root)
    changed = git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    if changed:
        raise Refused(f"commit first, the image is made of committed files: {changed.splitlines()[0].strip()}")
    if folder.exists():
        raise Refused(f"{folder} is there already: remove it, or name another folder")
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(git.bytes("archive", "--format=tar", "HEAD"))) as files:
        files.extractall(folder, filter="data")
    submodule = Submodule(root)
    submodule.unpack(folder / NAME, "src/open-r1-multimodal")
    pin = submodule.pin()
    (folder / NAME / MARK).write_text(f"{pin} {series.digest(submodule.patches)}\n")
    return f"{folder}: {git('rev-parse', '--short=12', 'HEAD')} with {len(submodule.patches)} patches on {pin[:12]}"


@command("export")
def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to write, which must not exist")
    print(export(parser.parse_args(argv).folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
