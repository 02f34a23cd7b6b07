"""Play MiniWoB++ episodes and write them as annotated task folders; keep only what the page itself rewards with 1.

    python -m data_prep.miniwob.render --out DIR        (make demo-data)

DIR/train and DIR/heldout hold `<task id>/step_<n>.json` beside its screenshots. Held out: whole task types
(`HELD_OUT_TYPES`) and, for the trained types, seeds that training never sees.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from playwright.sync_api import Error, Page
from tqdm import tqdm

from overlay.action.action import ACTION_NAMES
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import ORACLES, Act, Ambiguous

HELD_OUT_TYPES = (
    "click-checkboxes-transfer", "click-tab-2-easy", "click-test-transfer", "enter-text-dynamic", "identify-shape",
    "simple-algebra", "unicode-test",
)  # fmt: skip
MAX_STEPS = 9
DONE = "The task is done"


def drag_path(box: tuple, direction: str) -> tuple[float, float, float, float]:
    """Finger path (x1, y1, x2, y2) in CSS pixels that drags the element's content up or down by 70 pixels."""
    x, low, high = (box[0] + box[2]) / 2, box[3] - 6, box[1] + 6
    return (x, low, x, low - 70) if direction == "up" else (x, high, x, high + 70)


def perform(page: Page, act: Act, clock: dict) -> tuple[str, str]:
    """Do `act` in the page. Returns the action's parameter (screenshot pixels) and its description."""
    if act.type == "click":
        box = browser.box_of(page, act.element)
        if act.plan == "Click button TWO" and "waits" in clock:
            browser.settle(page, clock["tapped"], clock["waits"])
        browser.tap(page, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        clock.setdefault("tapped", time.monotonic())
        return ",".join(str(round(v * browser.SCALE)) for v in box), act.plan
    if act.type == "swipe":
        path = drag_path(browser.box_of(page, act.element), act.direction)
        browser.swipe(page, path[0], path[1], path[3])
        return ",".join(str(round(v * browser.SCALE)) for v in path), act.plan
    if act.type == "type":
        page.keyboard.type(act.text)
        page.wait_for_timeout(60)
        return act.text, act.plan
    clock["waits"] = clock.get("waits", 0) + 1  # wait: the time itself passes just before the next tap
    return "", act.plan


def play(page: Page, task: str, seed: str) -> tuple[str, list[bytes], list[tuple[str, str, str]]] | None:
    """One episode: (instruction, screens before each action and after the last, (type, parameter, plan) of each).

    None when the seed is ambiguous, a target is covered, or the page's reward is not 1.
    """
    instruction = browser.start(page, task, seed)
    screens, actions, clock = [browser.screenshot(page)], [], {}
    try:
        for act in ORACLES[task](page):
            if len(actions) == MAX_STEPS - 1:
                return None
            parameter, plan = perform(page, act, clock)
            actions.append((act.type, parameter, plan))
            screens.append(browser.screenshot(page))
    except (Ambiguous, browser.Covered):
        return None
    except Error as error:
        raise RuntimeError(f"{task} seed {seed}: {error}") from error
    if browser.reward(page) != 1:
        return None
    return instruction, screens, [*actions, ("task_completed", DONE, "Finish")]


def write_task(folder: Path, app: str, episode: tuple) -> int:
    """Write one episode as a task folder in the step format of the source tree; returns its number of steps."""
    instruction, screens, actions = episode
    folder.mkdir(parents=True)
    for number, png in enumerate(screens, 1):
        (folder / f"{folder.name}_{number}.png").write_bytes(png)
    plans = [plan for _, _, plan in actions]
    for step, (kind, parameter, plan) in enumerate(actions, 1):
        record = {
            "input": {
                "task_content": instruction,
                "task_path": {str(i): text for i, text in enumerate(plans, 1)},
                "screen_path1": f"{folder.name}_{step - 1}.png" if step > 1 else "",
                "screen_path2": f"{folder.name}_{step}.png",
                "history_path_all": plans[: step - 1],
                "app_name": app,
                "action_type_list": ACTION_NAMES,
            },
            "output": {"action_type": kind, "action_parameter": {kind: parameter}, "action_description": plan},
        }
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (folder / f"step_{step}.json").write_text(text + "\n", encoding="utf-8")
    return len(actions)


def episodes(page: Page, task: str, first_seed: int) -> Iterator[tuple]:
    """Rewarded episodes of a task from `first_seed` on; gives up after 40 seeds without one."""
    missed, seed = 0, first_seed
    while missed < 40:
        episode = play(page, task, f"{task}-{seed}")
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
        spent = dict.fromkeys(tasks, 0)
        while total < steps:
            task = min(tasks, key=lambda t: spent[t])  # the first of equals, in the given order
            count = write_task(out / name / str(task_id), task, next(streams[task]))
            spent[task] += count + share
            total, task_id = total + count, task_id + 1
            progress.update(count)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write (replaced)")
    parser.add_argument("--train-steps", type=int, default=300)
    parser.add_argument("--heldout-steps", type=int, default=104)
    args = parser.parse_args()
    if not Path(browser.CHROMIUM).exists():
        print(f"{browser.CHROMIUM} not found: install Debian's package `chromium`", file=sys.stderr)
        return 2
    aside = args.out.with_name(args.out.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    trained = [task for task in ORACLES if task not in HELD_OUT_TYPES]
    shuffled = random.Random(0).sample(trained, len(trained))
    other_seeds = args.heldout_steps * 6 // 10
    render(aside, "train", trained, 10_001, 0, args.train_steps, 1.0)
    render(aside, "heldout", shuffled, 20_001, 1_000, other_seeds, 100.0)
    render(aside, "heldout", list(HELD_OUT_TYPES), 30_001, 0, args.heldout_steps - other_seeds, 1.0)
    licence = next(f for f in distribution("miniwob").files if f.name == "LICENSE")
    (aside / "LICENSE.miniwob").write_text(licence.read_text(), encoding="utf-8")
    shutil.rmtree(args.out, ignore_errors=True)
    aside.rename(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
