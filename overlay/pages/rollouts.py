"""A page of a run's rollouts: sampled completions by prompt, with verdict and rewards, on their screens, to filter and
sort.

    python -m overlay.pages.rollouts RUN [--out FILE] [--last 300]      (make rollouts RUN=)

RUN is a training output folder. The page holds the newest completions.
"""

import sys
from pathlib import Path

from overlay.checks import at_least, writable_file
from overlay.errors import Arguments, DataError, command
from overlay.pages.about import about, record_of
from overlay.pages.groups import embedded, groups
from overlay.pages.render import write_page
from overlay.training.rollout_file import FOLDER, read


def write_rollouts(run: Path, out: Path, last: int) -> int:
    """Write the page of the `last` newest records (whole steps); returns how many it holds."""
    records = read(run)
    if len(records) > last:
        first = records[-last]["step"]
        whole = [record for record in records if record["step"] > first]
        records = whole or records[-last:]
    found, told = groups(records), about(record_of(run))
    write_page(out, "rollouts.html", run=run.name, groups=found, screens=embedded(found), about=told)
    return len(records)


@command("rollouts")
def main(argv: list[str] | None = None) -> int:
    """Write the page of a run."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="training output folder")
    parser.add_argument("--out", type=Path, help="file to write (RUN/rollouts.html)")
    parser.add_argument("--last", type=int, default=300, help="completions on the page, the newest")
    args = parser.parse_args(argv)
    if not list((args.run / FOLDER).glob("rank*.jsonl")):
        raise DataError(f"{args.run / FOLDER}: no rollouts; train with --rollout_log_mb above 0")
    at_least(args, last=1)
    out = args.out or args.run / "rollouts.html"
    writable_file(out)
    print(f"{out}: {write_rollouts(args.run, out, args.last)} completions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
