"""Scoring completions with the graded format and gui_action: seconds for 10,000. Upstream has neither, so no ratio."""

import json

from benchmarks.measure import measure
from overlay.action.completion import THINK_FIELDS
from overlay.rewards import REWARDS

COUNT = 10_000
THINK = "<think>" + json.dumps(dict.fromkeys(THINK_FIELDS, "先点击搜索框"), ensure_ascii=False) + "</think>"
PARAMETERS = {
    "click": ["37,378,227,633", "40,380,220,600"], "type": ["无锡", "无锡太湖"], "wait": ["", ""],
    "swipe": ["158,1557,122,1253", "160,1500,120,1300"],
}  # fmt: skip


def action(kind: str, parameter: str) -> str:
    """An action as JSON."""
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}}, ensure_ascii=False)


def score() -> list[float]:
    """Both rewards of `COUNT` completions of several types."""
    kinds = [list(PARAMETERS)[n % len(PARAMETERS)] for n in range(COUNT)]
    golds = [action(kind, PARAMETERS[kind][0]) for kind in kinds]
    texts = [f"{THINK}<answer>{action(kind, PARAMETERS[kind][1])}</answer>" for kind in kinds]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    return REWARDS["format"](completions) + REWARDS["gui_action"](completions, solution=golds)


def main() -> None:
    """Print the seconds."""
    print(f"{COUNT:,} completions, format and gui_action: {measure('benchmarks.scoring', 'score')['seconds']:.2f} s")
