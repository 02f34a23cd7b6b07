"""Apply the patch series to VLM-R1, take it off again, and keep it in order.

python -m overlay.patching apply|reverse|status|check|refresh [PATCH]|new NAME|upstream-check|upstream-move COMMIT
(make patch, unpatch, patch-status, patch-check, patch-refresh, patch-new, upstream-check, upstream-move)
"""

import sys

from overlay.errors import Arguments, SettingError, command
from overlay.patching import series, upkeep
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


TAKES_MORE = ("refresh", "new", "upstream-move")


@command("patch")
def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description=str(__doc__).splitlines()[0])
    commands = ("apply", "reverse", "status", "check", "refresh", "new", "upstream-check", "upstream-move")
    parser.add_argument("command", choices=commands)
    parser.add_argument("what", nargs="?", help="refresh: patch file; new: area-what; upstream-move: upstream's commit")
    args = parser.parse_args(argv)
    if args.what and args.command not in TAKES_MORE:
        raise SettingError(f"{args.what}: {args.command} takes nothing more")
    submodule = Submodule()
    if args.command == "status":
        return _status(submodule)
    if args.command == "check":
        problems = upkeep.check(submodule)
        print("\n".join(problems) or f"{len(submodule.patches)} patches are in order")
        return bool(problems)
    calls = {
        "apply": submodule.apply,
        "reverse": submodule.reverse,
        "refresh": lambda: upkeep.refresh(submodule, args.what),
        "new": lambda: upkeep.new(submodule, args.what),
        "upstream-check": lambda: upkeep.upstream_check(submodule),
        "upstream-move": lambda: upkeep.upstream_move(submodule, args.what),
    }
    print(calls[args.command]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
