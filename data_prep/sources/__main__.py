"""Published GUI datasets → annotated task folders.

    python -m data_prep.sources SOURCE FROM --out TASKS [--prompt-lang en] [--split FILE:PART]     (make import)

TASKS then goes through `make data` like any other tree; VLM-R1's own JSONL needs no import: the trainers and
`make data-check` read it. What our actions cannot say is counted in the report that is printed.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from data_prep.sources import aitw, android_control, grounding, odyssey, screen_agent, ui_s1
from data_prep.sources.common import Episode, Reading, Report, read_json
from data_prep.sources.tree import Tree
from overlay.checks import at_least, writable_folder
from overlay.errors import Arguments, SourceError, command
from overlay.prompt.template import LANGUAGES

SOURCES: dict[str, Callable[[Path, Reading], Iterator[Episode]]] = {
    "androidcontrol": android_control.episodes,
    "aitw": aitw.wild,
    "aitz": aitw.zoo,
    "cagui": aitw.cagui,
    "cagui-grounding": grounding.cagui,
    "odyssey": odyssey.episodes,
    "screenagent": screen_agent.episodes,
    "screenspot": grounding.screenspot,
    "screenspot-pro": grounding.screenspot,
    "ui-s1": ui_s1.episodes,
}


def convert(source: str, path: Path, out: Path, limit: int = 0, language: str = "zh", split: str = "") -> Report:
    """Write the task tree `out`, which must not exist, from the source at `path`; task folders are numbered from 1 in
    the source's order. `language`: of tasks that have several; `split`: see `names_of`. Raises SourceError, and leaves
    nothing then."""
    if out.exists():
        raise SourceError(f"{out} is there already: remove it, or name another folder")
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    writable_folder(out.absolute().parent)
    reading, aside = Reading(Report(), language, names_of(split)), out.with_name(out.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    tree = Tree(aside, reading.report)
    try:
        for number, episode in enumerate(tqdm(SOURCES[source](path, reading), desc="episodes", unit=""), 1):
            tree.write(episode, number)
            if number == limit:
                break
        if not reading.report.counts["episodes"]:
            raise SourceError(f"{path}: no episode that can be said: {reading.report.why()}")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return reading.report


def names_of(split: str) -> frozenset[str] | None:
    """The episodes that a published split file lists, `FILE:PART` (such as GUI-Odyssey's
    `splits/random_split.json:test`, AndroidControl's `splits.json:test`); None for all. Raises SourceError."""
    if not split:
        return None
    file, _, part = split.rpartition(":")
    parts = read_json(Path(file or split))
    names = parts.get(part) if isinstance(parts, dict) else None
    if not isinstance(names, list):
        known = ", ".join(parts) if isinstance(parts, dict) else "none"
        raise SourceError(f"--split {split}: FILE:PART, a part of the file that lists episodes (it has: {known})")
    return frozenset(str(name).removesuffix(".json") for name in names)


@command("import")
def main(argv: list[str] | None = None) -> int:
    """Import what the command line names, and print the report."""
    parser = Arguments(description="Published GUI datasets to annotated task folders.")
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("path", type=Path, help="file or folder of the dataset")
    parser.add_argument("--out", type=Path, required=True, help="task tree to write")
    parser.add_argument("--limit", type=int, default=0, help="only the first episodes; 0: all")
    parser.add_argument("--prompt-lang", choices=LANGUAGES, default="zh", help="of tasks that come in several")
    parser.add_argument("--split", default="", help="FILE:PART of the dataset: only the episodes it lists")
    args = parser.parse_args(argv)
    at_least(args, limit=0)
    print(convert(args.source, args.path, args.out, args.limit, args.prompt_lang, args.split))
    return 0


if __name__ == "__main__":
    sys.exit(main())
