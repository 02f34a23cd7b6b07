"""Let a served model play pages in a real Chromium: MiniWoB++ or our own; the page's own reward is the judge.

    python -m overlay.play.run --url http://127.0.0.1:8000/v1 --episodes 5 --out runs/play
    python -m overlay.play.run --model CHECKPOINT --pages phone --tasks buttons drawer ...    (make play)

Each episode is a seed that can be solved (an oracle does MiniWoB++'s first); its plan is given, as in training. The
model sees the previous and the current screen, acts, and goes on until the page gives a reward, it says that the task
is done, or it has taken `--extra` steps more than the plan. `metrics.json` has the success rate of each task type with
N and its interval; `play.html` every episode with its screens and what was drawn on them. An episode in which the
server gave no answer counts to no rate; the status is 3 then. What was played is written when Ctrl-C ends it (130), or
an error; the same command goes on with the episodes that are missing, another one's `--out` is refused.
"""

import argparse
import json
import queue
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from math import sqrt
from pathlib import Path
from typing import Any

from playwright.sync_api import Error
from tqdm import tqdm

from overlay.checks import at_least, writable_folder
from overlay.errors import Arguments, SettingError, Stopped, Unanswered, command
from overlay.evaluate.identity import now
from overlay.live import chromium
from overlay.live.environment import Environment, Pages
from overlay.live.kinds import pages_of
from overlay.pages.render import write_page
from overlay.play import kept
from overlay.play.episode import Asker, episode
from overlay.play.kept import EPISODES, line_of
from overlay.prompt.style import PromptStyle
from overlay.serve.client import Client, asking, check_asking, settings_of
from overlay.serve.server import check_model, server_of
from overlay.serve.style import check_seen, style_flags, style_of
from overlay.settings import PLAYED_FROM

GROUPS = ("all", "trained types", "held-out types", "can be done", "cannot be done")
THOSE = ("held-out types", "cannot be done")  # which a kind of pages names; the group before is the others
SEEDS_TRIED = 40


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


def summary(episodes: list[dict[str, Any]], pages: Pages) -> dict[str, Any]:
    """Success over all, over trained and held-out types, over those that can be done and those that cannot where there
    are such, and for each type; episodes without an answer, by reason, and the share of answers that reached
    --max_tokens."""
    played = [one for one in episodes if not one["unanswered"]]
    parts = {"trained types": pages.held_out, "held-out types": pages.held_out}
    if pages.impossible:
        parts |= {"can be done": pages.impossible, "cannot be done": pages.impossible}
    types = sorted({one["task"] for one in played})
    cut = [step["cut"] for one in episodes for step in one["steps"]]
    return {
        "all": share(played),
        **{
            name: share([one for one in played if (one["task"] in of) is (name in THOSE)]) for name, of in parts.items()
        },
        "by_task": {task: share([one for one in played if one["task"] == task]) for task in types},
        "unanswered": dict(Counter(one["unanswered"] for one in episodes if one["unanswered"]).most_common()),
        "truncated": {"value": sum(cut) / len(cut) if cut else None, "n": len(cut)},
    }


class Game:
    """`--episodes` solvable seeds of each task, on `--workers` pages; `done` are the episodes that ended, those of an
    earlier start first."""

    def __init__(
        self, asker: Asker, args: argparse.Namespace, style: PromptStyle, settings: dict[str, Any],
        before: list[dict[str, Any]],
    ):  # fmt: skip
        self.asker, self.args, self.style, self.settings = asker, args, style, settings
        self.pages = pages_of(args.pages)
        self.waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for task in args.tasks:
            self.waiting.put(task)
        self.done, self.played = list(before), {(one["task"], one["seed"]) for one in before}
        self.file = args.out / EPISODES
        if before:  # without what was cut short or had no answer
            replace(self.file, before)
        self.over, self.lock = threading.Event(), threading.Lock()
        self.wanted = len(args.tasks) * args.episodes
        there = Counter(task for task, _ in self.played)
        missing = sum(max(0, args.episodes - there[task]) for task in args.tasks)
        self.bar = tqdm(total=self.wanted, initial=self.wanted - missing, desc="episodes")

    def play(self) -> None:
        """Play all, until the server is gone. Raises SettingError for a page that fails, and what Ctrl-C raises; then
        the episodes under way are given up."""
        with self.bar, ThreadPoolExecutor(self.args.workers) as pool:
            workers = [pool.submit(self._work) for _ in range(self.args.workers)]
            try:
                for each in workers:
                    each.result()
            finally:
                self.over.set()
                self.asker.stop()

    def _work(self) -> None:
        with self.pages.open() as environment, tempfile.TemporaryDirectory() as name:
            while not self.over.is_set():
                try:
                    task = self.waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    for one in self._of_task(environment, task, Path(name)):
                        self._keep(one)
                        if self.asker.client.gone:
                            self.over.set()
                except CancelledError:  # asked when all was over
                    return

    def _keep(self, one: dict[str, Any]) -> None:
        """At once, for whatever may end this process."""
        one["settings"] = self.settings
        with self.lock, open(self.file, "a" if self.done else "w", encoding="utf-8") as file:
            file.write(line_of(one))
            self.done.append(one)
            self.bar.update()

    def _of_task(self, environment: Environment, task: str, folder: Path) -> Iterator[dict[str, Any]]:
        made, most = 0, SEEDS_TRIED * self.args.episodes
        for seed in range(PLAYED_FROM, PLAYED_FROM + most):
            if made == self.args.episodes or self.over.is_set():
                return
            if (task, seed) in self.played:
                made += 1
                continue
            try:
                one = episode(environment, self.asker, task, seed, self.style, self.args.extra, folder)
            except Error as error:
                raise SettingError(f"{task} seed {seed}: the page failed: {str(error).splitlines()[0]}") from error
            if one is not None:
                made += 1
                yield one
        if made < self.args.episodes:
            raise SettingError(f"{task}: {made} of {most} seeds can be solved")


def replace(file: Path, episodes: list[dict[str, Any]]) -> None:
    """Write episodes.jsonl anew, whole or not at all."""
    aside = file.with_name(f"{file.name}.tmp")
    aside.write_text("".join(map(line_of, episodes)), encoding="utf-8")
    aside.replace(file)


def write(out: Path, episodes: list[dict[str, Any]], pages: str, about: dict[str, Any]) -> dict[str, Any]:
    """metrics.json, episodes.jsonl and play.html; returns the metrics. `about`: who played, and when."""
    episodes = sorted(episodes, key=lambda one: (one["task"], one["seed"]))
    result = {**summary(episodes, pages_of(pages)), "about": about}
    (out / "metrics.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    replace(out / EPISODES, episodes)
    shown = [name for name in GROUPS if name in result]
    write_page(
        out / "play.html", "play.html", name=out.name, pages=pages, result=result, groups=shown, episodes=episodes
    )
    return result


@command("play")
def main(argv: list[str] | None = None) -> int:
    """Play what the command line names, and print the success rates."""
    parser = Arguments(description="Let a model play pages in Chromium.")
    parser.add_argument("--pages", default="miniwob", help="miniwob, phone, apps, or a module: docs/episodes.md")
    parser.add_argument("--tasks", nargs="*", help="names of pages; all of that kind by default")
    parser.add_argument("--episodes", type=int, default=3, help="of each task")
    parser.add_argument("--extra", type=int, default=2, help="steps beyond the oracle's")
    parser.add_argument("--workers", type=int, default=2, help="pages at a time")
    parser.add_argument("--out", type=Path, required=True)
    asking(parser, or_folder=True)
    style_flags(parser)
    args = parser.parse_args(argv)
    known = pages_of(args.pages, "--pages").tasks
    if args.tasks is None:
        args.tasks = list(known)
    if not args.tasks:
        raise SettingError("--tasks: name at least one, or leave the flag out for all")
    unknown = [task for task in args.tasks if task not in known]
    if unknown:
        raise SettingError(f"--tasks {' '.join(unknown)}: unknown (known: {', '.join(known)})")
    at_least(args, episodes=1, extra=0, workers=1)
    check_asking(args)
    if args.model:
        check_model(args.model)
    style, told = style_of(args)
    check_seen(style, args.model)
    chromium.check()
    writable_folder(args.out)
    settings = kept.settings_of(args, style)
    before = kept.read(args.out, settings)
    if before:
        print(f"{args.out}: {len(before)} episodes are there already, and stay", file=sys.stderr)
    with (
        server_of(args) as url,
        closing(Asker(Client(settings_of(args, url, style)))) as asker,
    ):
        print(told, file=sys.stderr)
        game = Game(asker, args, style, settings, before)
        try:
            try:
                game.play()
            finally:
                if game.done:
                    tell(args.out, write(args.out, game.done, args.pages, about_of(args, url)))
        except KeyboardInterrupt as stop:
            raise Stopped(f"stopped; {_told(game)}") from stop
    unanswered = Counter(one["unanswered"] for one in game.done if one["unanswered"])
    if unanswered:
        kinds = ", ".join(f"{reason} {count}" for reason, count in unanswered.most_common())
        raise Unanswered(f"episodes without an answer are not counted ({kinds}); {_told(game)}")
    return 0


def about_of(args: argparse.Namespace, url: str) -> dict[str, Any]:
    """Who played, how, and when."""
    asked = {name: getattr(args, name) for name in ("temperature", "max_tokens")}
    return {"model": args.name or "", "server": url, **asked, "date": now()}


def tell(out: Path, result: dict[str, Any]) -> None:
    """Print the rates."""
    for name, value in [*((name, result[name]) for name in GROUPS if name in result), *result["by_task"].items()]:
        rate = f"{value['success_rate']:.2f} [{value['low']:.2f}, {value['high']:.2f}]" if value["n"] else "none"
        print(f"{name:28} {rate} N={value['n']}")
    print(out / "play.html")


def _told(game: Game) -> str:
    return f"{len(game.done)} of {game.wanted} episodes were played, and are in {game.args.out}"


if __name__ == "__main__":
    sys.exit(main())
