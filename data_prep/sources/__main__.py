"""Published GUI datasets → annotated task folders.

    python -m data_prep.sources androidcontrol|aitw|aitz|screenagent FROM --out TASKS [--limit N]     (make import)

TASKS then goes through `make data` like any other tree; VLM-R1's own JSONL needs no import: the trainers and
`make data-check` read it. What our actions cannot say is counted in the report that is printed.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from data_prep.sources import aitw, android_control, screen_agent
from data_prep.sources.common import Episode, Report, write
from overlay.errors import SourceError, command

SOURCES: dict[str, Callable[[Path, Report], Iterator[Episode]]] = {
    "androidcontrol": android_control.episodes,
    "aitw": aitw.wild,
    "aitz": aitw.zoo,
    "screenagent": screen_agent.episodes,
}


def convert(source: str, path: Path, out: Path, limit: int = 0) -> Report:
    """Write the task tree `out`, which must not exist, from the source at `path`; task folders are numbered from 1 in
    the source's order. Raises SourceError, and leaves nothing then."""
    if out.exists():
        raise SourceError(f"{out} is there already: remove it, or name another folder")
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    report, aside = Report(), out.with_name(out.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for number, episode in enumerate(tqdm(SOURCES[source](path, report), desc="episodes", unit=""), 1):
            write(episode, aside / str(number), report)
            if number == limit:
                break
        if not report.counts["episodes"]:
            raise SourceError(f"{path}: no episode that can be said")
        aside.rename(out)
    except SourceError:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return report


@command("import")
def main(argv: list[str] | None = None) -> int:
    """Import what the command line names, and print the report."""
    parser = argparse.ArgumentParser(description="Published GUI datasets to annotated task folders.")
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("path", type=Path, help="file or folder of the dataset")
    parser.add_argument("--out", type=Path, required=True, help="task tree to write")
    parser.add_argument("--limit", type=int, default=0, help="only the first episodes; 0: all")
    args = parser.parse_args(argv)
    print(convert(args.source, args.path, args.out, args.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
