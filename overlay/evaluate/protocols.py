"""How published work asks and counts, as records: with one of them a score can be set beside a paper's number.

A protocol changes what a row tells the model (plan, history, the previous screen, the step's own instruction) and which
rows are asked, and names the rule and the denominator. The prompt's wording stays that of the model at hand.
"""

from dataclasses import dataclass
from typing import Any

from overlay.action.reserved import MARK
from overlay.errors import DataError
from overlay.metrics.rules import RULES
from overlay.prompt.history import with_fields
from overlay.prompt.template import SCREEN_FIELDS, step_input

EVERY = -1  # earlier steps: all


@dataclass(frozen=True)
class Protocol:
    """`rows`: which data; `history`: how many earlier steps are told (`EVERY`: all); `instruction`: whether the step's
    own instruction (the gold action's description) is; `plan`: whether the plan is; `previous`: whether the previous
    screen is shown; `rule` of `overlay.metrics.rules`, whose gold types are the rows that are asked and counted, unless
    `types` are fewer; `denominator` and `source` for people."""

    rows: str
    rule: str
    denominator: str
    source: str
    history: int = 0
    instruction: bool = False
    plan: bool = False
    previous: bool = False
    types: tuple[str, ...] = ()

    def left_out(self, gold_type: str, description: str) -> str:
        """Why a row is not asked, in words; empty when it is."""
        if gold_type not in (self.types or RULES[self.rule].types):
            return f"gold is {gold_type}"
        return "no instruction of its own" if self.instruction and not description else ""

    def told(self, problem: str, images: list[str], description: str, source: str) -> tuple[str, list[str]]:
        """(question, images) as the protocol has them. Raises DataError for a question without the step's input."""
        before, fields = step_input(problem)
        if not fields:
            raise DataError(f"{source}: the question does not end with a step's input: no protocol can change it")
        changed = {"task_path": self._plan(fields, description), "history_path_all": self._history(fields)}
        if not self.previous and len(images) > 1:
            changed, images = {**changed, SCREEN_FIELDS[0]: ""}, images[-1:]
            problem = problem.replace(MARK, "", max(0, before.count(MARK) - 1))
        return with_fields(problem, changed), images

    def _plan(self, fields: dict[str, Any], description: str) -> Any:
        if self.instruction:
            return {"1": description}
        return fields.get("task_path") if self.plan else {}

    def _history(self, fields: dict[str, Any]) -> list[Any]:
        earlier = fields.get("history_path_all")
        told = list(earlier) if isinstance(earlier, list) else []
        return told if self.history == EVERY else told[len(told) - self.history :] if self.history else []


_INFIGUI = "https://github.com/InfiXAI/InfiGUI-R1/blob/main/eval/android_control/android_control.py"
_AGENT = "https://github.com/OpenBMB/AgentCPM-GUI/blob/main/eval/run_predict_minicpm.py"
_STEPS = "all steps of the types that the rule knows; an unreadable answer is wrong"
PROTOCOLS: dict[str, Protocol] = {
    "androidcontrol-low": Protocol(
        "AndroidControl's test split, without the closing step", "infigui", _STEPS, _INFIGUI, EVERY, instruction=True,
    ),
    "androidcontrol-high": Protocol(
        "AndroidControl's test split, without the closing step", "infigui", _STEPS, _INFIGUI, EVERY,
    ),
    "odyssey": Protocol(
        "GUI-Odyssey's test annotations, high level", "odyssey",
        "all steps (AMS) and whole episodes (SR); of the random split the mean over its six categories",
        "https://github.com/OpenGVLab/GUI-Odyssey/blob/master/src/eval_mm/evaluate_GUIOdyssey.py", 4,
    ),
    "aitz": Protocol("Android in the Zoo's test split", "agentcpm", _STEPS, _AGENT),
    "cagui": Protocol("CAGUI's agent split (Chinese apps)", "agentcpm", _STEPS, _AGENT),
    "screenspot": Protocol(
        "ScreenSpot, v2 or Pro: one click each", "box", "all rows; by group (platform, text or icon)",
        "https://github.com/njucckevin/SeeClick/blob/main/pretrain/screenspot_test.py", types=("click",),
    ),
}  # fmt: skip
