"""Let a served model play MiniWoB++ tasks in a real Chromium; the page's own reward is the judge.

    python -m overlay.live.play --url http://127.0.0.1:8000/v1 --episodes 5 --out runs/play
    python -m overlay.live.play --model CHECKPOINT --tasks click-test-transfer enter-text ...    (make play)

Each episode is a seed that an oracle solves, so it can be solved; its plan is given, as in training. The model sees the
previous and the current screen, acts, and goes on until the page gives a reward, it says that the task is done, or it
has taken `--extra` steps more than the oracle. `metrics.json` has the success rate of each task type with N and its
interval; `play.html` every episode with its screens and what was drawn on them.
"""

import argparse
import json
import queue
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from math import sqrt
from pathlib import Path
from typing import Any

from openai import OpenAIError
from playwright.sync_api import Error, Page
from tqdm import tqdm

from overlay.errors import SettingError, command
from overlay.live.episode import Asker, episode
from overlay.live.miniwob import browser
from overlay.live.miniwob.oracles import ORACLES
from overlay.pages.render import write_page
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, asking, settings_of
from overlay.serve.server import server_of
from overlay.serve.style import check_seen, style_flags, style_of

SEEDS_TRIED = 40
LIVE_SEED = 100_000  # seeds from here on; neither the demo's training nor its held-out steps use them


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


def play_all(asker: Asker, args: argparse.Namespace, style: PromptStyle) -> list[dict[str, Any]]:
    """`--episodes` solvable seeds of each task, on `--workers` pages. Raises SettingError, OpenAIError."""
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


@command("play", OpenAIError)
def main(argv: list[str] | None = None) -> int:
    """Play what the command line names, and print the success rates."""
    parser = argparse.ArgumentParser(description="Let a model play MiniWoB++ in Chromium.")
    parser.add_argument("--tasks", nargs="*", default=list(ORACLES), help="MiniWoB++ page names; all known by default")
    parser.add_argument("--episodes", type=int, default=3, help="of each task")
    parser.add_argument("--extra", type=int, default=2, help="steps beyond the oracle's")
    parser.add_argument("--workers", type=int, default=2, help="pages at a time")
    parser.add_argument("--out", type=Path, required=True)
    asking(parser, or_folder=True)
    style_flags(parser)
    args = parser.parse_args(argv)
    unknown = [task for task in args.tasks if task not in ORACLES]
    if unknown:
        raise SettingError(f"--tasks {' '.join(unknown)}: unknown (known: {', '.join(ORACLES)})")
    style, told = style_of(args)
    check_seen(style, args.model)
    browser.check()
    print(told, file=sys.stderr)
    with server_of(args) as url, closing(Asker(Client(settings_of(args, url)))) as asker:
        episodes = play_all(asker, args, style)
    result = write(args.out, episodes)
    for name, value in [*list(result.items())[:3], *result["by_task"].items()]:
        print(f"{name:28} {value['success_rate']:.2f} [{value['low']:.2f}, {value['high']:.2f}] N={value['n']}")
    print(args.out / "play.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
