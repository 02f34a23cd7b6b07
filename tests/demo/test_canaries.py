"""Faults in the way of a picture to the model move the demo's score so far that they cannot pass unseen.

The shipped model on held-out clicks, asked as scores and `make local` ask.
"""

from dataclasses import replace
from math import sqrt

import pytest
from transformers import AutoModelForImageTextToText

from overlay.action.space import Space
from overlay.demo.looks import changed, two_screens, with_screens
from overlay.demo.recordings import ends_early
from overlay.demo.score import BATCH, MODEL, MOST_TOKENS, figures, truth_of
from overlay.metrics.flags import gold_action
from overlay.model.answer import complete
from overlay.model.processor import load_processor
from overlay.prompt.style_file import read_style

pytestmark = pytest.mark.integration
ROWS = 64
STYLE = read_style(MODEL)


@pytest.fixture(scope="module")
def model():
    return AutoModelForImageTextToText.from_pretrained(MODEL, dtype="float32")


@pytest.fixture(scope="module")
def rows(phone_rows):
    """Clicks with two screens, where the model was not taught to stop."""
    two = phone_rows.select(two_screens(phone_rows))
    asked = enumerate(zip(two["problem"], two["solution"], strict=True))
    clicks = [n for n, step in asked if "click" in gold_action(step[1]).type and ends_early(*step) is None]
    return two.select(clicks[:ROWS])


def hits(model, rows, truth, style=STYLE, processor=None):
    """Clicks that hit, of `ROWS`."""
    answers = complete(model, processor or load_processor(str(MODEL)), rows, style, BATCH, MOST_TOKENS)
    figure = figures(answers, truth)["grounding_accuracy"]
    assert figure.n == ROWS
    return round(figure.value * ROWS)


@pytest.fixture(scope="module")
def right(model, rows):
    """Hits without a fault."""
    return hits(model, rows, truth_of(rows, STYLE))


def smaller_pictures(model, rows, truth, monkeypatch, folder):
    limit = STYLE.space.max_pixels // 4
    return hits(model, rows, truth, processor=load_processor(str(MODEL), 28 * 28, limit))


def another_space(model, rows, truth, monkeypatch, folder):
    """Answers are in the model's own space and are read as thousandths."""
    style = replace(STYLE, space=Space("norm1000"))
    answers = complete(model, load_processor(str(MODEL)), rows, STYLE, BATCH, MOST_TOKENS)
    return round(figures(answers, truth_of(rows, style))["grounding_accuracy"].value * ROWS)


def pictures_in_another_order(model, rows, truth, monkeypatch, folder):
    return hits(model, changed(rows, "swapped", folder), truth)


def the_current_picture_left_out(model, rows, truth, monkeypatch, folder):
    """The previous one stands in both places."""
    return hits(model, with_screens(rows, [paths[:1] * 2 for paths in rows["image"]]), truth)


def positions_without_token_types(model, rows, truth, monkeypatch, folder):
    inner, rope = model.model, model.model.get_rope_index

    def without(input_ids, mm_token_type_ids=None, **others):
        return rope(input_ids, mm_token_type_ids=mm_token_type_ids * 0, **others)

    monkeypatch.setattr(inner, "get_rope_index", without)
    return hits(model, rows, truth)


FAULTS = (
    smaller_pictures, another_space, pictures_in_another_order, the_current_picture_left_out,
    positions_without_token_types,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_moves_the_score(fault, model, rows, right, monkeypatch, tmp_path):
    """By more than three standard errors of a difference of two shares, and to less than half."""
    wrong = fault(model, rows, truth_of(rows, STYLE), monkeypatch, tmp_path)
    share = (right + wrong) / (2 * ROWS)
    print(f"{fault.__name__}: {right / ROWS:.2f} -> {wrong / ROWS:.2f}")
    assert right - wrong > 3 * sqrt(2 * ROWS * share * (1 - share))
    assert wrong < right / 2
