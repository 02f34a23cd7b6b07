"""Annotated task folders → training rows.

    python -m data_prep.convert TASKS --out rows.jsonl [--prompt FILE] [--prompt-lang zh|en]     (make data)

The rows are the same bytes for any number of workers. What is broken is reported with file and reason: by default the
run then fails and writes nothing; with `--on-error skip` the step is left out and listed in the report.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from data_prep.output import replacing
from data_prep.steps import Step, passed_over, read_step, task_folders
from overlay.checks import at_least, writable_file
from overlay.data.earlier import step_files
from overlay.data.parallel import ordered_map
from overlay.errors import Arguments, DataError, SettingError, command
from overlay.prompt.template import LANGUAGES, load_template, render_question

SHOWN = 20  # problems printed; the report has them all
CHUNK = 64  # steps handed to a worker at once


def row_of(step: Step, template: str, language: str) -> str:
    """The row of one good step as a line of JSON without its id: everything from `"image"` on."""
    row = {
        "image": step.images,
        "conversations": [
            {"from": "human", "value": render_question(template, step.input, language)},
            {"from": "gpt", "value": json.dumps(step.output, ensure_ascii=False)},
        ],
        **step.columns,
    }
    return json.dumps(row, ensure_ascii=False)[1:]


def convert_chunk(paths: list[Path], root: Path, template: str, language: str, decode: bool) -> list[tuple]:
    """For each step file: (row without id, None) or (None, (file, [reasons]))."""
    results = []
    for path in paths:
        step = read_step(root, path, decode)
        line = None
        if not step.problems:
            line = row_of(step, template, language)
            try:
                line.encode("utf-8")
            except UnicodeEncodeError:
                step.problems.append("the text holds a lone surrogate")
        file = path.relative_to(root).as_posix()
        results.append((None, (file, step.problems)) if step.problems else (line, None))
    return results


def _chunks(root: Path, progress: tqdm) -> Iterator[list[Path]]:
    chunk = []
    for task in task_folders(root):
        chunk.extend(step_files(root / task))
        while len(chunk) >= CHUNK:
            yield chunk[:CHUNK]
            chunk = chunk[CHUNK:]
        progress.set_postfix_str(f"task {task}", refresh=False)
    if chunk:
        yield chunk


def _name_passed_over(root: Path) -> None:
    names = list(islice(passed_over(root), SHOWN + 1))
    if names:
        more = ", ..." if len(names) > SHOWN else ""
        print(
            f"{root}: passed over, not <task id, digits>/step_<n>.json: {', '.join(names[:SHOWN])}{more}",
            file=sys.stderr,
        )


def convert(
    root: Path,
    out: Path,
    template: str,
    language: str = "zh",
    workers: int = 1,
    on_error: str = "fail",
    decode: bool = True,
    report: Path | None = None,
) -> tuple[int, int]:
    """Write the rows of every step under `root` to `out`, and name on standard error what was passed over. Returns
    (rows, broken steps).

    Raises DataError, with the problems on standard error and nothing written but the report, when a step is broken and
    `on_error` is "fail", or when there is no step at all.
    """
    _name_passed_over(root)
    report = report or out.with_suffix(".report.jsonl")
    report.unlink(missing_ok=True)
    work = partial(convert_chunk, root=root, template=template, language=language, decode=decode)
    rows, broken, listed = 0, 0, None
    with replacing(out) as file, ExitStack() as opened, tqdm(desc="steps", unit=" steps") as progress:
        for results in ordered_map(work, _chunks(root, progress), workers):
            for line, problem in results:
                if line is not None:
                    rows += 1
                    file.write(f'{{"id": {rows}, {line}\n'.encode())
                    continue
                if listed is None:
                    report.parent.mkdir(parents=True, exist_ok=True)
                    listed = opened.enter_context(open(report, "w", encoding="utf-8", errors="replace"))
                broken += 1
                listed.write(json.dumps({"file": problem[0], "reasons": problem[1]}, ensure_ascii=False) + "\n")
                if broken <= SHOWN:
                    tqdm.write(f"{root / problem[0]}: {'; '.join(problem[1])}", file=sys.stderr)
            progress.update(len(results))
        if not rows and not broken:
            raise DataError(f"{root}: no <task id>/step_<n>.json below it")
        if broken and on_error == "fail":
            raise DataError(
                f"{broken} of {rows + broken} steps are broken (all in {report}); nothing written. "
                "Mend them or pass ON_ERROR=skip (--on-error skip)."
            )
    return rows, broken


@command("data")
def main(argv: list[str] | None = None) -> int:
    """Convert what the command line names."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("tasks", type=Path, help="folder of task folders")
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to write")
    parser.add_argument("--prompt", help="template file (default: the built-in one of --prompt-lang)")
    parser.add_argument("--prompt-lang", choices=LANGUAGES, default="zh")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--on-error", choices=("fail", "skip"), default="fail")
    parser.add_argument("--image-check", choices=("decode", "header"), default="decode")
    parser.add_argument("--report", type=Path, help="file for broken steps (default: beside --out)")
    args = parser.parse_args(argv)
    at_least(args, workers=1)
    if not args.tasks.is_dir():
        raise DataError(f"{args.tasks}: no such folder (TASKS=, the folder of task folders)")
    try:
        template = load_template(args.prompt or args.prompt_lang)
    except SettingError as error:
        raise SettingError(f"PROMPT: {error}") from error
    writable_file(args.out)
    writable_file(args.report or args.out, "--report")
    rows, broken = convert(
        args.tasks, args.out, template, args.prompt_lang, args.workers, args.on_error,
        args.image_check == "decode", args.report,
    )  # fmt: skip
    skipped = f", {broken} broken steps skipped (listed beside it)" if broken else ""
    print(f"{rows} rows in {args.out}{skipped}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
