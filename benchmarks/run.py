"""All benchmarks: speed and memory as ratios against unpatched upstream, both sides in this one run.

    python -m benchmarks.run [NAME ...]     (make bench)

NAME: loading, preparation, logprobs, images, group, generation, vocabulary, cost, judge, scoring, live; all by default.

Ratios on one machine in one run hold; the seconds do not carry over to another machine.
"""

import sys

from benchmarks import cost, generation, group, images, judge, live, loading, logprobs, preparation, scoring, vocabulary
from overlay.errors import Arguments, command

ALL = {
    side.__name__.rpartition(".")[2]: side.main
    for side in (loading, preparation, logprobs, images, group, generation, vocabulary, cost, judge, scoring, live)
}


@command("bench")
def main(argv: list[str] | None = None) -> int:
    """Run those that are named."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", nargs="*", choices=[*ALL, []], help=f"all of them by default: {', '.join(ALL)}")
    for name in parser.parse_args(argv).name or ALL:
        print(f"== {name}", flush=True)
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
