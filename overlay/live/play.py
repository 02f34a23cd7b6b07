"""Let a served model play MiniWoB++ tasks in a real Chromium; the page's own reward is the judge.

    python -m overlay.live.play --url http://127.0.0.1:8000/v1 --episodes 5 --out runs/play
    python -m overlay.live.play --model CHECKPOINT --tasks click-test-transfer enter-text ...    (make play)

Each episode is a seed that an oracle solves, so it can be solved; its plan is given, as in training. The model sees the
previous and the current screen, acts, and goes on until the page gives a reward, it says that the task is done, or it
has taken `--extra` steps more than the oracle. `metrics.json` has the success rate of each task type with N and its
interval; `play.html` every episode with its screens and what was drawn on them.
"""

import argparse
import asyncio
import json
import queue
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

from openai import OpenAIError
from playwright.sync_api import Error, Page
from tqdm import tqdm

from data_prep.miniwob.render import HELD_OUT_TYPES
from data_prep.miniwob.render import play as solve
from overlay.action.action import ACTION_NAMES, BOX_TYPES, Action, as_box, centre, parse_action
from overlay.action.completion import load_json, split
from overlay.action.space import Scale, Space, rescale
from overlay.data.images import encode, scale_of
from overlay.errors import SettingError
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import ORACLES
from overlay.pages.picture import drawn
from overlay.pages.render import write_page
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template
from overlay.serve.ask import question_of_task
from overlay.serve.client import Client, asking, settings_of
from overlay.serve.server import served

SEEDS_TRIED = 40
LIVE_SEED = 100_000  # seeds from here on; neither the demo's training nor its held-out steps use them


class Asker:
    """The async client behind a plain call, on a loop in a thread of its own: Playwright's runs in the caller's."""

    def __init__(self, client: Client):
        self.client, self.loop = client, asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self._wait(client.__aenter__())

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def ask(self, messages: list[dict], paths: list[str]) -> str:
        """Completion text. Raises OpenAIError."""
        return self._wait(self.client.ask(messages, paths)).completion

    def close(self) -> None:
        self._wait(self.client.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)


def act(page: Page, action: Action, scale: Scale) -> bool:
    """Do the model's action; whether there was something to do. Coordinates have `scale` in screenshot pixels."""
    css = None
    if action.coordinates is not None:
        css = [value / browser.SCALE for value in rescale(action.coordinates, scale, back=True)]
    if action.type in BOX_TYPES and css:
        x, y = centre(as_box(css))
        browser.tap(page, min(max(x, 0), browser.WIDTH - 1), min(max(y, 0), browser.HEIGHT - 1))
    elif action.type == "swipe" and css and len(css) == 4:
        browser.swipe(page, css[0], css[1], css[3])
    elif action.type == "type":
        page.keyboard.type(str(action.parameter or ""))
        page.wait_for_timeout(60)
    elif action.type == "wait":
        page.wait_for_timeout(1000)
    else:
        return False
    return True


def described(completion: str, action: Action | None) -> str:
    """What the model says it did, for the history of its next prompt."""
    record = load_json(split(completion).answer or completion)
    text = record.get("action_description") if isinstance(record, dict) else None
    return str(text) if text else action.type if action else "nothing"


def episode(
    page: Page, asker: Asker, task: str, seed: str, style: PromptStyle, extra: int, folder: Path
) -> dict[str, Any] | None:
    """One episode; None when the oracle does not solve the seed. Screens go into `folder`."""
    solved = solve(page, task, seed)
    if solved is None:
        return None
    plan = [line for _, _, line in solved[2]]
    instruction, history, steps, screens = browser.start(page, task, seed), [], [], []
    ended = "out of steps"
    for number in range(len(plan) + extra):
        path = folder / f"{number}.png"
        path.write_bytes(browser.screenshot(page))
        screens.append(str(path))
        fields = {
            "task_content": instruction, "task_path": {str(i): text for i, text in enumerate(plan, 1)},
            "screen_path1": screens[-2] if number else "", "screen_path2": screens[-1],
            "history_path_all": list(history), "app_name": task, "action_type_list": ACTION_NAMES,
        }  # fmt: skip
        question, paths = question_of_task(fields, "zh", "zh")
        completion = asker.ask(style.messages(question, len(paths)), paths)
        scale = scale_of(style, paths, task)
        action = parse_action(completion)
        steps.append(
            {
                "completion": completion,
                "action": action.type if action else "none",
                "screen": _shown(path, action, scale),
            }
        )
        history.append(described(completion, action))
        if action is not None and action.type in ("task_completed", "task_impossible"):
            ended = "said it was done"
            break
        if action is None or not act(page, action, scale):
            continue
        if browser.reward(page) is not None:
            ended = "the page ended it"
            break
    reward = browser.reward(page)
    return {
        "task": task, "seed": seed, "instruction": instruction, "plan": plan, "steps": steps, "ended": ended,
        "reward": reward, "success": reward == 1, "held_out": task in HELD_OUT_TYPES,
    }  # fmt: skip


def _shown(path: Path, action: Action | None, scale: Scale) -> str:
    return encode(drawn(str(path), action, scale).quantize(64), "png", optimize=True).url


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    if not n:
        return 0.0, 1.0
    z, p = 1.96, right / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def share(episodes: list[dict[str, Any]]) -> dict[str, float]:
    """Success rate of episodes with its interval and N."""
    right, n = sum(one["success"] for one in episodes), len(episodes)
    low, high = wilson(right, n)
    return {"success_rate": right / n if n else 0.0, "low": low, "high": high, "n": n}


def summary(episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Success over all, over trained and held-out types, and for each type."""
    types = sorted({one["task"] for one in episodes})
    return {
        "all": share(episodes),
        "trained types": share([one for one in episodes if not one["held_out"]]),
        "held-out types": share([one for one in episodes if one["held_out"]]),
        "by_task": {task: share([one for one in episodes if one["task"] == task]) for task in types},
    }


def play_all(asker: Asker, args: argparse.Namespace) -> list[dict[str, Any]]:
    """`--episodes` solvable seeds of each task, on `--workers` pages. Raises SettingError, OpenAIError."""
    style = PromptStyle(load_template("zh"), space=Space(args.coordinate_space, args.min_pixels, args.max_pixels))
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for task in args.tasks:
        waiting.put(task)
    done: list[dict[str, Any]] = []
    with tqdm(total=len(args.tasks) * args.episodes, desc="episodes") as bar:

        def worker() -> None:
            with browser.open_page() as page, tempfile.TemporaryDirectory() as name:
                while not waiting.empty():
                    try:
                        task = waiting.get_nowait()
                    except queue.Empty:
                        return
                    for one in _of_task(page, asker, task, style, args, Path(name)):
                        done.append(one)
                        bar.update()

        with ThreadPoolExecutor(args.workers) as pool:
            for each in [pool.submit(worker) for _ in range(args.workers)]:
                each.result()
    return sorted(done, key=lambda one: (one["task"], one["seed"]))


def _of_task(
    page: Page, asker: Asker, task: str, style: PromptStyle, args: argparse.Namespace, folder: Path
) -> Iterator[dict[str, Any]]:
    made = 0
    for seed in range(LIVE_SEED, LIVE_SEED + SEEDS_TRIED * args.episodes):
        if made == args.episodes:
            return
        try:
            one = episode(page, asker, task, f"{task}-{seed}", style, args.extra, folder)
        except Error as error:
            raise SettingError(f"{task} seed {seed}: the page failed: {str(error).splitlines()[0]}") from error
        if one is not None:
            made += 1
            yield one
    raise SettingError(f"{task}: the oracle solved {made} of {SEEDS_TRIED * args.episodes} seeds")


def write(out: Path, episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """metrics.json, episodes.jsonl and play.html; returns the metrics."""
    out.mkdir(parents=True, exist_ok=True)
    result = summary(episodes)
    (out / "metrics.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    with open(out / "episodes.jsonl", "w", encoding="utf-8") as file:
        for one in episodes:
            steps = [{name: step[name] for name in ("completion", "action")} for step in one["steps"]]
            file.write(json.dumps({**one, "steps": steps}) + "\n")
    write_page(out / "play.html", "play.html", name=out.name, result=result, episodes=episodes)
    return result


@contextmanager
def asker_for(args: argparse.Namespace) -> Iterator[Asker]:
    """The asker of `--url`, or of a server for `--model` that lasts as long as this."""
    if args.url:
        made = Asker(Client(settings_of(args, args.url)))
        try:
            yield made
        finally:
            made.close()
        return
    args.name = args.name or str(args.model)
    with served(args.model, args.out / "server.log") as args.url, asker_for(args) as made:
        yield made


def main() -> int:
    parser = argparse.ArgumentParser(description="Let a model play MiniWoB++ in Chromium.")
    parser.add_argument("--model", type=Path, help="model folder, served for as long as this takes; else --url")
    parser.add_argument("--tasks", nargs="*", default=list(ORACLES), help="MiniWoB++ page names; all known by default")
    parser.add_argument("--episodes", type=int, default=3, help="of each task")
    parser.add_argument("--extra", type=int, default=2, help="steps beyond the oracle's")
    parser.add_argument("--workers", type=int, default=2, help="pages at a time")
    parser.add_argument("--out", type=Path, required=True)
    asking(parser)
    args = parser.parse_args()
    unknown = [task for task in args.tasks if task not in ORACLES]
    problem = (
        "give either --model (a folder) or --url (a server)" if bool(args.model) == bool(args.url)
        else f"--tasks {' '.join(unknown)}: unknown (known: {', '.join(ORACLES)})" if unknown
        else f"{browser.CHROMIUM} not found: install Debian's package `chromium`" if not Path(browser.CHROMIUM).exists()
        else None
    )  # fmt: skip
    if problem:
        print(f"play: {problem}", file=sys.stderr)
        return 2
    try:
        with asker_for(args) as asker:
            episodes = play_all(asker, args)
    except (SettingError, OpenAIError) as error:
        print(f"play: {error}", file=sys.stderr)
        return 2
    result = write(args.out, episodes)
    for name, value in [*list(result.items())[:3], *result["by_task"].items()]:
        print(f"{name:28} {value['success_rate']:.2f} [{value['low']:.2f}, {value['high']:.2f}] N={value['n']}")
    print(args.out / "play.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
