"""How well a click's answered box or point matches the gold box: a score in [0, 1] by each of several published ideas.

All rank by where the finger lands; they differ in what they make of the box's size. Boxes are (x1, y1, x2, y2).
"""

import math
from collections.abc import Callable

from overlay.action.action import Box, centre, contains, iou

SPREAD = 0.5  # standard deviation of a box's Gaussian, in sides (GUI-G2's alpha)


def _miss(box: Box, gold: Box) -> float:
    """Below 0.1, falling with the centre's distance from the gold box in gold diagonals, so that nearer misses rank
    higher."""
    x, y = centre(box)
    away = math.hypot(max(gold[0] - x, 0, x - gold[2]), max(gold[1] - y, 0, y - gold[3]))
    return 0.1 / (1 + away / max(1.0, math.hypot(gold[2] - gold[0], gold[3] - gold[1])))


def by_box(box: Box, gold: Box) -> float:
    """Centre inside: 0.75 + 0.25 IoU (a point has IoU 0). Outside but overlapping: 0.1 + 0.4 IoU. Else the miss."""
    overlap = iou(box, gold)
    if contains(gold, *centre(box)):
        return 0.75 + 0.25 * overlap
    return 0.1 + 0.4 * overlap if overlap > 0 else _miss(box, gold)


def by_point(box: Box, gold: Box) -> float:
    """Centre inside: 1, whatever the box; else the miss (GUI-R1 and UI-R1 have 1 and 0)."""
    return 1.0 if contains(gold, *centre(box)) else _miss(box, gold)


def by_iou(box: Box, gold: Box) -> float:
    """Overlapping: 0.1 + 0.9 IoU; else the miss. A point has no area, so it never earns more than a miss."""
    overlap = iou(box, gold)
    return 0.1 + 0.9 * overlap if overlap > 0 else _miss(box, gold)


def by_gaussian(box: Box, gold: Box) -> float:
    """GUI-G2 (arXiv 2507.15846), half and half: the gold box's Gaussian at the answered centre, and the Bhattacharyya
    coefficient of the two boxes' Gaussians, whose deviations are `SPREAD` of their sides (at least a pixel)."""
    point, coverage = 0.0, 0.0
    for low, high in ((0, 2), (1, 3)):
        away = (box[low] + box[high] - gold[low] - gold[high]) / 2
        own, wanted = (max(1.0, SPREAD * (each[high] - each[low])) for each in (box, gold))
        point -= 0.5 * (away / wanted) ** 2
        variance = (own**2 + wanted**2) / 2
        coverage -= away**2 / variance / 8 + 0.5 * math.log(variance / (own * wanted))
    return 0.5 * math.exp(point) + 0.5 * math.exp(coverage)


CLICKS: dict[str, Callable[[Box, Box], float]] = {
    "box": by_box, "gaussian": by_gaussian, "point": by_point, "iou": by_iou
}  # fmt: skip
