"""All benchmarks: speed and memory as ratios against unpatched upstream, both sides in this one run.

    python -m benchmarks.run [NAME ...]     (make bench)

NAME: loading, preparation, logprobs, images, group, vocabulary, cost, judge, scoring; all by default.

Ratios on one machine in one run hold; the seconds do not carry over to another machine.
"""

import argparse
import sys

from benchmarks import cost, group, images, judge, loading, logprobs, preparation, scoring, vocabulary

ALL = {
    side.__name__.rpartition(".")[2]: side.main
    for side in (loading, preparation, logprobs, images, group, vocabulary, cost, judge, scoring)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", nargs="*", choices=[*ALL, []], help=f"all of them by default: {', '.join(ALL)}")
    for name in parser.parse_args().name or ALL:
        print(f"== {name}", flush=True)
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
