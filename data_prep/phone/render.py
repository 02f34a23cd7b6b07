"""Draw tasks on our own pages, photograph them in Chromium, and write them as annotated task folders.

    python -m data_prep.phone.render --out DIR        (make demo-data)

DIR/train and DIR/heldout hold `<task id>/step_<n>.json` beside its screenshots. Held-out tasks come in three parts of
equal size: other seeds, labels that training never sees, and kinds of pages that it never sees. Boxes are the DOM's.
"""

import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Page
from tqdm import tqdm

from data_prep.task_folder import Done, write_task
from overlay.data.images import encode
from overlay.errors import Arguments, command
from overlay.live import chromium
from overlay.live.phone import photo
from overlay.live.phone.kinds import HELD_OUT_KINDS, TRAINED_KINDS
from overlay.live.phone.tasks import APP, Step, Task, draw_task
from overlay.live.phone.words import LANGUAGES

SCALE = 2  # screenshot pixels to a CSS pixel
COLOURS = 32  # of a screenshot's PNG
AT_A_TIME = 100  # tasks that are photographed together


def tasks(seed: int, kinds: Sequence[str], unseen: bool) -> Iterator[Task]:
    """Tasks of a seed without end, over the languages and first kinds in turn."""
    rng = random.Random(seed)
    while True:
        for kind in kinds:
            for lang in LANGUAGES:
                yield draw_task(rng, lang, kinds, unseen, kind)


def render(page: Page, out: Path, drawn: Iterator[Task], first_id: int, steps: int) -> int:
    """Write tasks as out/<id> until there are `steps` steps; returns how many there are."""
    total, number = 0, first_id
    with tqdm(total=steps, desc=out.name, unit="step") as progress:
        while total < steps:
            part = [next(drawn) for _ in range(AT_A_TIME)]
            photos = photo.photograph(page, [step.screen for task in part for step in task.steps])
            for task in part:
                done = [_done(step, next(photos)) for step in task.steps]
                if total < steps:
                    count = write_task(out / str(number), APP, task.instruction, task.plan, done)
                    total, number = total + count, number + 1
                    progress.update(count)
    return total


def _done(step: Step, taken: photo.Photo) -> Done:
    png = encode(taken.image.quantize(COLOURS), "png", optimize=True).data
    parameter = step.text
    if step.gesture in ("click", "long_click"):
        assert step.target is not None
        parameter = ",".join(str(round(value * SCALE)) for value in taken.boxes[step.target])
    return Done(png, step.gesture, parameter, step.said or step.text)


@command("demo-data")
def main(argv: list[str] | None = None) -> int:
    """Render both splits."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write (replaced)")
    parser.add_argument("--train-steps", type=int, default=600)
    parser.add_argument("--heldout-steps", type=int, default=720)
    args = parser.parse_args(argv)
    chromium.check()
    aside = args.out.with_name(args.out.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    third = args.heldout_steps // 3
    with photo.open_page(SCALE) as page:
        render(page, aside / "train", tasks(1, TRAINED_KINDS, False), 10_001, args.train_steps)
        render(page, aside / "heldout", tasks(2, TRAINED_KINDS, False), 20_001, third)
        render(page, aside / "heldout", tasks(3, TRAINED_KINDS, True), 30_001, third)
        render(page, aside / "heldout", tasks(4, HELD_OUT_KINDS, False), 40_001, third)
    shutil.rmtree(args.out, ignore_errors=True)
    aside.rename(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
