"""Rules by which an answer is right, by name: our own and the published ones, each whole.

Scores under different rules say different things, so a figure always comes with its rule. docs/scores.md defines each;
tests/metrics/test_rules.py holds them to the published code's own verdicts.
"""

from overlay.metrics.rules.aitw import AGENTCPM, AGENTCPM_CONTROL, AITW
from overlay.metrics.rules.boxes import GUI_R1_EVAL, GUI_R1_REWARD, ODYSSEY, UI_R1
from overlay.metrics.rules.control import INFIGUI, UI_S1
from overlay.metrics.rules.own import BOX, BOX_GROWN, EXACT
from overlay.metrics.rules.step import Rule

RULE = "box"
RULES: dict[str, Rule] = {
    RULE: BOX,
    "box x1.2": BOX_GROWN,
    "exact": EXACT,
    "aitw": AITW,
    "agentcpm": AGENTCPM,
    "agentcpm-ac": AGENTCPM_CONTROL,
    "infigui": INFIGUI,
    "ui-s1": UI_S1,
    "odyssey": ODYSSEY,
    "gui-r1-eval": GUI_R1_EVAL,
    "gui-r1-reward": GUI_R1_REWARD,
    "ui-r1": UI_R1,
}
