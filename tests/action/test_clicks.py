"""Scores of clicks: ranges, what is worth more than what, and values worked out by hand."""

import math
import random

import pytest

from overlay.action.clicks import CLICKS

GOLD = (100.0, 200.0, 300.0, 260.0)
EXACT, INSIDE, POINT = GOLD, (150.0, 210.0, 250.0, 250.0), (200.0, 230.0, 200.0, 230.0)
WIDE, BESIDE, FAR = (0.0, 0.0, 400.0, 460.0), (310.0, 200.0, 350.0, 260.0), (900.0, 900.0, 950.0, 950.0)


@pytest.mark.parametrize(
    ("click", "box", "score"),
    [
        ("box", INSIDE, 0.75 + 0.25 / 3), ("box", POINT, 0.75), ("box", WIDE, 0.75 + 0.25 * 12_000 / 184_000),
        ("point", INSIDE, 1), ("point", POINT, 1), ("point", WIDE, 1),
        ("point", BESIDE, 0.1 / (1 + 30 / math.hypot(200, 60))),
        ("iou", INSIDE, 0.1 + 0.9 / 3), ("iou", POINT, 0.1), ("iou", WIDE, 0.1 + 0.9 * 12_000 / 184_000),
        ("gaussian", EXACT, 1),
        # The same centre: the point part is whole; deviations 50 and 100, 20 and 30.
        ("gaussian", INSIDE, 0.5 + 0.5 * math.sqrt(50 * 100 / 6250) * math.sqrt(20 * 30 / 650)),
        # One deviation to the right, the same size.
        ("gaussian", (200.0, 200.0, 400.0, 260.0), 0.5 * math.exp(-0.5) + 0.5 * math.exp(-1 / 8)),
    ],
)  # fmt: skip
def test_values_by_hand(click, box, score):
    assert CLICKS[click](box, GOLD) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("click", CLICKS)
def test_every_score_is_in_range_and_nearer_is_better(click):
    draw = random.Random(0)
    for _ in range(2000):
        x, y = sorted(draw.uniform(-50, 2000) for _ in range(2)), sorted(draw.uniform(-50, 2000) for _ in range(2))
        assert 0 <= CLICKS[click]((x[0], y[0], x[1], y[1]), GOLD) <= 1
    moved = [CLICKS[click]((x, 200.0, x + 200, 260.0), GOLD) for x in range(100, 1500, 20)]
    assert moved == sorted(moved, reverse=True)
    assert CLICKS[click](FAR, GOLD) < 0.1 < CLICKS[click](INSIDE, GOLD)
    assert CLICKS[click](WIDE, GOLD) < 1 or click == "point"


def test_huge_numbers_and_boxes_without_area_are_scores_too():
    for click in CLICKS.values():
        for box in ((-1e9, -1e9, 1e9, 1e9), (1e9, 1e9, 1e9, 1e9), POINT):
            for gold in (GOLD, POINT):
                assert 0 <= click(box, gold) <= 1
