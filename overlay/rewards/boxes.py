"""Accuracy methods on lists of labelled boxes in a ```json block: map, od_ap, od_ap50, odLength, weighted_sum.

A block is `[{"bbox_2d": [x1, y1, x2, y2], "label": str}, ...]`, in pixels of the image the model saw. Each method is
`(completion's text, solution) -> [0, 1]`; a block that cannot be read is an empty list, a malformed box matches none.
"""

import contextlib
import io
import math
import re
from typing import Any, cast

from overlay.action.action import LARGEST, Box, iou
from overlay.action.completion import load_json, split
from overlay.rewards.answers import LONGEST, answer_of, clean, gold_of, stated_answer

MOST = 1000  # boxes that are looked at; more only count as false alarms
THRESHOLD, POSITION, COMPLETENESS = 0.5, 0.7, 0.3


def boxes_in(text: str, last: bool = True) -> list[Any]:
    """Items of the text's last (or first) ```json block."""
    blocks = re.findall(r"```json(.*?)```", text, re.DOTALL)
    items = load_json(blocks[-1 if last else 0].strip()) if blocks else None
    return items if isinstance(items, list) else []


def box_of(item: Any) -> Box | None:
    """(x1, y1, x2, y2) of an item with x1 < x2 and y1 < y2, or None."""
    box = item.get("bbox_2d") if isinstance(item, dict) else None
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) <= LARGEST for v in box):
        return None
    x1, y1, x2, y2 = map(float, box)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def label_of(item: Any) -> str:
    """An item's label, or nothing."""
    return str(item.get("label", "")) if isinstance(item, dict) else ""


def average_precision(predicted: list[Any], gold: list[Any], threshold: float | None = None) -> float:
    """COCO's average precision over IoU 0.5 to 0.95, or at 0.5 (`threshold=0.5`), by pycocotools on one image."""
    if not gold or not predicted:
        return float(not gold and not predicted)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = {label: number for number, label in enumerate(dict.fromkeys(map(label_of, gold)))}

    def entries(items: list[Any]) -> list[dict]:
        found = [(number, box_of(item), labels.get(label_of(item))) for number, item in enumerate(items[:MOST], 1)]
        return [
            {"id": number, "image_id": 0, "category_id": label, "iscrowd": 0, "score": 1.0,
             "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            for number, (x1, y1, x2, y2), label in ((n, b, c) for n, b, c in found if b and c is not None)
        ]  # fmt: skip

    truth, answered = entries(gold), entries(predicted)
    if not truth or not answered:
        return 0.0
    data = {"images": [{"id": 0}], "annotations": truth, "categories": [{"id": n} for n in labels.values()], "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a table for every call
        coco = cast(Any, COCO())  # its types know of files only
        coco.dataset = data
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(answered), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return max(0.0, float(evaluation.stats[0 if threshold is None else 1]))


def score_map(text: str, solution: str) -> float:
    """Average precision of the last block outside the think part."""
    return average_precision(boxes_in(split(text).rest[-LONGEST:]), boxes_in(solution))


def _detected(text: str, solution: str, threshold: float | None = None, shorten: bool = False) -> float:
    answer, gold = stated_answer(text), gold_of(solution)
    if answer is None:
        return 0.0
    if answer == gold == "None":
        return 1.0
    predicted, wanted = boxes_in(answer), boxes_in(gold)
    score = average_precision(predicted, wanted, threshold)
    return score * min(1.0, len(wanted) / len(predicted)) if shorten and predicted else score


def score_od_ap(text: str, solution: str) -> float:
    """Average precision of the answer; "None" is right where nothing is to be found."""
    return _detected(text, solution)


def score_od_ap50(text: str, solution: str) -> float:
    """The same at IoU 0.5."""
    return _detected(text, solution, threshold=0.5)


def score_od_length(text: str, solution: str) -> float:
    """Average precision times gold boxes per answered box, when more were answered."""
    return _detected(text, solution, shorten=True)


def score_weighted_sum(text: str, solution: str) -> float:
    """0.7 of the mean IoU of matched boxes with the right label, 0.3 of completeness (missed and false boxes)."""
    answer, gold = clean(answer_of(text)), clean(gold_of(solution))
    if gold == "none":
        return float(answer == "none")
    predicted, wanted = boxes_in(answer, last=False), boxes_in(gold, last=False)
    if not wanted or not predicted:
        return float(not wanted and not predicted)
    # Greedy: the pair with the largest IoU first, in order of appearance among equals.
    overlaps = sorted(
        (-iou(a, b), p, g)
        for p, a in enumerate(map(box_of, predicted[:MOST])) if a
        for g, b in enumerate(map(box_of, wanted)) if b
    )  # fmt: skip
    used_predicted, used_wanted, total = set(), set(), 0.0
    for negative, p, g in overlaps:
        if -negative < THRESHOLD:
            break
        if p in used_predicted or g in used_wanted:
            continue
        used_predicted.add(p)
        used_wanted.add(g)
        if label_of(predicted[p]).lower() == label_of(wanted[g]).lower():
            total -= negative
    missed = 1 - len(used_wanted) / len(wanted)
    false = 1 - len(used_predicted) / len(predicted)
    score = POSITION * total / len(wanted) + COMPLETENESS * (1 - (missed + false) / 2)
    return score if math.isfinite(score) else 0.0
