"""Play MiniWoB++ episodes and write them as annotated task folders; keep only what the page itself rewards with 1.

    python -m data_prep.miniwob.render --out DIR        (make demo-data)

DIR/train and DIR/heldout hold `<task id>/step_<n>.json` beside its screenshots. Held out: whole task types
(`HELD_OUT_TYPES`) and, for the trained types, seeds that training never sees.
"""

import random
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from playwright.sync_api import Page
from tqdm import tqdm

from data_prep.task_folder import Done, write_task
from overlay.checks import at_least, writable_folder
from overlay.errors import Arguments, command
from overlay.live import chromium
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import HELD_OUT_TYPES, ORACLES
from overlay.live.miniwob.solve import solve


def write_episode(folder: Path, task: str, episode: tuple) -> int:
    """Write what `solve` returns as a task folder; returns its number of steps."""
    instruction, screens, actions = episode
    steps = [Done(png, *action) for png, action in zip(screens, actions, strict=True)]
    return write_task(folder, task, instruction, [step.said for step in steps], steps)


def episodes(page: Page, task: str, first_seed: int) -> Iterator[tuple]:
    """Rewarded episodes of a task from `first_seed` on; gives up after 40 seeds without one."""
    missed, seed = 0, first_seed
    while missed < 40:
        episode = solve(page, task, f"{task}-{seed}")
        missed, seed = (missed + 1, seed) if episode is None else (0, seed)
        seed += 1
        if episode is not None:
            yield episode
    raise RuntimeError(f"{task}: no episode with reward 1 in 40 seeds from {seed - 40}")


def render(out: Path, name: str, tasks: list[str], first_id: int, first_seed: int, steps: int, share: float) -> int:
    """Render `steps` steps evenly over `tasks` (round robin by episode) into out/name; returns how many."""
    total, task_id = 0, first_id
    with browser.open_page() as page, tqdm(total=steps, desc=name, unit="step") as progress:
        streams = {task: episodes(page, task, first_seed) for task in tasks}
        spent = dict.fromkeys(tasks, 0.0)
        while total < steps:
            task = min(tasks, key=lambda t: spent[t])  # the first of equals, in the given order
            count = write_episode(out / name / str(task_id), task, next(streams[task]))
            spent[task] += count + share
            total, task_id = total + count, task_id + 1
            progress.update(count)
    return total


@command("demo-data")
def main(argv: list[str] | None = None) -> int:
    """Render both splits."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write (replaced)")
    parser.add_argument("--train-steps", type=int, default=300)
    parser.add_argument("--heldout-steps", type=int, default=104)
    args = parser.parse_args(argv)
    at_least(args, train_steps=1, heldout_steps=1)
    writable_folder(args.out.absolute().parent)
    chromium.check()
    aside = args.out.with_name(args.out.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    trained = [task for task in ORACLES if task not in HELD_OUT_TYPES]
    shuffled = random.Random(0).sample(trained, len(trained))
    other_seeds = args.heldout_steps * 6 // 10
    render(aside, "train", trained, 10_001, 0, args.train_steps, 1.0)
    render(aside, "heldout", shuffled, 20_001, 1_000, other_seeds, 100.0)
    render(aside, "heldout", list(HELD_OUT_TYPES), 30_001, 0, args.heldout_steps - other_seeds, 1.0)
    licence = next(f for f in distribution("miniwob").files or () if f.name == "LICENSE")
    (aside / "LICENSE.miniwob").write_text(licence.read_text(), encoding="utf-8")
    shutil.rmtree(args.out, ignore_errors=True)
    aside.rename(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
