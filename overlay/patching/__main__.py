"""Apply the patch series to VLM-R1, take it off again, and keep it in order.

python -m overlay.patching apply|reverse|status|check|refresh [PATCH]|upstream-check      (make patch, unpatch, ...)
"""

import argparse
import sys

from overlay.errors import command
from overlay.patching import series
from overlay.patching.submodule import MARK, NAME, Submodule


def _status(submodule: Submodule) -> int:
    mark = submodule.folder / MARK
    if not submodule.present and mark.exists():
        pin, made = mark.read_text().split()
        word = "applied" if made == series.digest(submodule.patches) else "older"
        print(f"{NAME}: {word} ({len(submodule.patches)} patches, pin {pin[:12]}, exported)")
        return 0 if word == "applied" else 1
    if not submodule.present:
        print(f"{NAME}: not initialised (make patch)")
        return 1
    now = submodule.state()
    print(f"{NAME}: {now.word} ({len(submodule.patches)} patches, pin {now.pin[:12]})")
    for file in now.files:
        print(f"  {file}")
    return 0 if now.word in ("applied", "pristine") else 1


@command("patch")
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("command", choices=("apply", "reverse", "status", "check", "refresh", "upstream-check"))
    parser.add_argument("patch", nargs="?", help="refresh: the patch that takes the work tree's changes")
    args = parser.parse_args(argv)
    submodule = Submodule()
    if args.command == "status":
        return _status(submodule)
    if args.command == "check":
        problems = submodule.check()
        print("\n".join(problems) or f"{len(submodule.patches)} patches are in order")
        return bool(problems)
    calls = {
        "apply": submodule.apply,
        "reverse": submodule.reverse,
        "refresh": lambda: submodule.refresh(args.patch),
        "upstream-check": submodule.upstream_check,
    }
    print(calls[args.command]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
