"""Rules against the published code's own verdicts, and what a row must say for them.

The pairs were judged by the published code, unchanged; they lie outside the project (`../shared/data`).
"""

import json
from functools import cache

import pytest

from overlay.action.action import Action
from overlay.metrics.rules import RULES
from overlay.metrics.rules.step import Screen, Step
from tests.stock import ROOT

PAIRS = ROOT.parent / "shared" / "data" / "scoring_pairs.jsonl"
needs_pairs = pytest.mark.skipif(not PAIRS.is_file(), reason=f"NEEDS THE SCORED PAIRS: {PAIRS}")
# The pairs' name of a verdict: our rule.
JUDGED = {
    "aitw": "aitw", "cpm": "agentcpm", "cpm_ac": "agentcpm-ac", "infi": "infigui", "ody": "odyssey",
    "guir1 eval": "gui-r1-eval", "guir1 reward": "gui-r1-reward", "uir1": "ui-r1",
}  # fmt: skip
PLACES = {"click": [500, 500], "long_click": [500, 500], "swipe": [500, 900, 500, 300]}


@cache
def pairs():
    return [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def asked(pair):
    """(answer, step) of a pair."""
    kind, gold, answer = pair["kind"], pair["gold"], pair["pred"]
    if kind == "types":
        gold, answer = (Action(name, PLACES.get(name, "")) for name in (gold, answer))
    elif kind in ("swipe", "type"):
        gold, answer = Action(kind, gold), Action(kind, answer)
    else:
        gold, answer = Action("click", gold), Action(pair["kp"], answer)
    return answer, Step(gold, Screen(tuple(pair["size"]), tap=pair.get("tap"), elements=pair.get("els", [])))


@needs_pairs
@pytest.mark.parametrize("judged", JUDGED)
def test_the_published_verdicts(judged):
    known = [pair for pair in pairs() if pair.get(judged) is not None]
    others = [pair for pair in known if RULES[JUDGED[judged]](*asked(pair)) is not pair[judged]]
    assert len(known) >= 100
    assert others == []


@needs_pairs
def test_ours_is_not_stricter_on_text_than_the_peers():
    texts = [pair for pair in pairs() if pair["kind"] == "type" and pair["gold"] and pair["pred"]]
    assert all(RULES["box"](*asked(pair)) for pair in texts if pair["infi"])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_a_row_lacks(rule):
    """No verdict without the elements, whatever the answer: rows that are judged only where that is easy lie."""
    gold, judge = Action("click", "100,100,200,200"), RULES[rule]
    needs = "elements" in judge.needs.get("click", ())
    for answer in (Action("click", "150,150"), Action("click", "900,900"), Action("wait", ""), None):
        bare = judge(answer, Step(gold, Screen((1000, 1000))))
        assert (bare is None) is needs
        assert judge(answer, Step(gold, Screen((1000, 1000), elements=[]))) is not None
    assert judge.lacks(Step(gold, Screen((1000, 1000)))) == ("the row lacks elements" if needs else "")
    unknown = Step(Action("inquiry", "{}"))
    assert judge(None, unknown) is (None if judge.lacks(unknown) else False)


def test_types_that_a_rule_does_not_know():
    opened = Step(Action("open_app", "Clock"), Screen((1000, 1000), elements=[]))
    assert RULES["aitw"].lacks(opened) == "no such type: open_app"
    found = {name for name, rule in RULES.items() if rule(Action("open_app", "clock"), opened)}
    assert found == {"box", "box x1.2", "exact", "infigui", "ui-s1", "gui-r1-eval", "gui-r1-reward", "ui-r1"}


def test_an_icon_opens_the_app_only_where_it_is_known():
    """All elements of a screen are no icons of the app: else any click would open it."""
    gold, near, far = Action("open_app", "Clock"), Action("click", [110, 110]), Action("click", [900, 900])
    known = Step(gold, Screen((1000, 1000), elements=[(0, 0, 1000, 1000)], candidates=[(100, 100, 120, 120)]))
    for rule in ("infigui", "ui-s1"):
        assert RULES[rule](near, known) is True
        assert RULES[rule](far, known) is False
        assert RULES[rule](near, Step(gold, Screen((1000, 1000), elements=[(0, 0, 1000, 1000)]))) is False


def test_the_candidates_stand_for_the_gold_element():
    """InfiGUI-R1's data names the boxes that the gold action means; AITW's rule needs all of the screen."""
    screen = Screen((1000, 1000), tap=(110, 110), elements=[(0, 0, 1000, 1000)], candidates=[(100, 100, 120, 120)])
    step = Step(Action("click", "100,100,120,120"), screen)
    assert RULES["infigui"](Action("click", [900, 900]), step) is False
    assert RULES["aitw"](Action("click", [900, 900]), step) is True


def test_a_short_swipe_is_a_tap_where_the_published_code_says_so():
    gold = Step(Action("swipe", [500, 500, 510, 500]), Screen((1000, 1000), elements=[]))
    assert RULES["aitw"](Action("click", [510, 510]), gold) is True
    assert RULES["agentcpm"](Action("click", [510, 510]), gold) is True
    assert RULES["agentcpm"](Action("swipe", [500, 500, 900, 500]), gold) is False
    assert RULES["box"](Action("swipe", [500, 500, 900, 500]), gold) is True
