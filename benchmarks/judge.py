"""The judge on 64 completions at a server that takes 200 ms: ours (at once, then from its cache) and upstream's loop.

Upstream's side is its own `llm_reward`, which no patch makes faster.
"""

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.judge_server import judge_server
from benchmarks.measure import measure
from overlay.patching.submodule import Submodule
from overlay.rewards.judge.client import Judge
from overlay.rewards.judged import score_judged
from overlay.settings import JudgeArguments

COMPLETIONS, LATENCY = 64, 0.2
TEXTS = [f"<think>?</think><answer>answer {n}</answer>" for n in range(COMPLETIONS)]
GOLD = "<answer> gold </answer>"


def _upstream(source: str):
    if source not in sys.path:
        sys.path.insert(0, source)
    with contextlib.redirect_stdout(io.StringIO()):
        from open_r1 import grpo_jsonl
    return grpo_jsonl


def prepare(source: str, folder: str) -> None:
    """Import both sides before the clock starts."""
    global judge
    _upstream(source)
    judge = Judge(JudgeArguments(judge_model="m", judge_cache_dir=folder, judge_concurrency=COMPLETIONS))


def theirs(source: str, folder: str) -> list[float]:
    """Upstream's function for each completion in turn."""
    return [_upstream(source).llm_reward(text, GOLD) for text in TEXTS]


def ours(source: str, folder: str) -> list[float]:
    """All completions of the step."""
    return score_judged(judge, TEXTS, [[GOLD]] * COMPLETIONS)


def main() -> None:
    """Print seconds and ratios."""
    with tempfile.TemporaryDirectory(prefix="bench-judge-") as name, judge_server(LATENCY) as server:
        Submodule().unpack(Path(name), "src/open-r1-multimodal/src")
        source, cache = Path(name) / "src" / "open-r1-multimodal" / "src", Path(name) / "verdicts"
        os.environ |= {"OPENAI_API_BASE": server.base, "OPENAI_API_KEY": "none"}
        upstream = measure("benchmarks.judge", "theirs", source, cache)["seconds"]
        first = measure("benchmarks.judge", "ours", source, cache)["seconds"]
        again = measure("benchmarks.judge", "ours", source, cache)["seconds"]
    print(f"{COMPLETIONS} completions, server latency {LATENCY * 1000:.0f} ms")
    print(f"upstream's loop {upstream:8.3f} s\nours            {first:8.3f} s  1/{upstream / first:.0f}")
    print(f"the step again  {again:8.3f} s  1/{upstream / again:.0f}")
