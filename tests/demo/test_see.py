"""The lessons of the demo's model: what they ask and what is right, by hand, and that a model learns from them."""

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from overlay.demo.album import Shown
from overlay.demo.lessons import ACROSS, DOWN, IGNORED, ScreenLessons, asked, inside, reads
from overlay.demo.score import MODEL
from overlay.demo.see import WEIGHTS, Seeing, optimizers
from overlay.demo.step_lessons import StepLessons
from overlay.live.phone.screen import HEIGHT, WIDTH
from overlay.model.processor import load_processor
from overlay.prompt.style_file import read_style

# Two words in the second row of cells, the first over one cell and a half; a thing that covers two cells.
SHOWN = Shown(
    np.full((HEIGHT, WIDTH, 3), 255, np.uint8), "en",
    [("Red Lake", "row", [0, 28, 56, 56]), ("7", "row hold", [56, 0, 84, 28])],
    [("Red", [0, 28, 42, 56]), ("Lake", [42, 28, 70, 56])],
)  # fmt: skip


def test_what_a_cell_shows_and_what_a_box_covers():
    found = reads(SHOWN, {"Red": 0, "Lake": 1}).view(DOWN, ACROSS, 2)
    assert found[1, 0].tolist() == [1, 0]
    assert found[1, 1].tolist() == [0.5, 0.5]
    assert found[1, 2].tolist() == [0, 1]
    assert found.sum() == 3
    covered = inside([0, 28, 56, 56]).view(DOWN, ACROSS)
    assert covered[1, :2].tolist() == [0.5, 0.5]
    assert covered.sum() == 1


def test_questions_in_the_words_of_a_steps_answer():
    found = {
        question: (answer, box) for seed in range(20) for question, answer, box in asked(SHOWN, random.Random(seed))
    }
    answer, box = found["pressed Red Lake"]
    assert answer == '"}</think><answer>{"action_type": "click", "action_parameter": {"click": "0,28,56,56"\n'
    assert box == [0, 28, 56, 56]
    assert '"long_click": "56,0,84,28"' in found["held 7"][0]
    assert found["0,28,56,56\n"] == ("pressed Red Lake\n", None)


@pytest.fixture(scope="module")
def processor():
    return load_processor(str(MODEL))


def test_a_batch(processor):
    lessons = ScreenLessons([SHOWN], processor, 3, 0)
    inputs, truth = lessons.batch()
    ids, labels = inputs["input_ids"], inputs["labels"]
    assert (inputs["mm_token_type_ids"].sum(1) == ACROSS * DOWN).all()
    assert inputs["image_grid_thw"].tolist() == [[1, HEIGHT // 14, WIDTH // 14]] * 3
    assert truth["shown"].shape == (3 * ACROSS * DOWN, len(lessons.words))
    asked_for = labels != IGNORED
    assert (ids[asked_for] == labels[asked_for]).all()
    assert not asked_for[:, : ACROSS * DOWN + 3].any()
    # What points comes right before an answer, or before one of its numbers.
    for screen, end in zip(truth["row"].tolist(), truth["end"].tolist(), strict=True):
        following = int(ids[screen, end + 1])
        assert labels[screen, end + 1] == following
        assert following in lessons.numbers or labels[screen, end] == IGNORED


def test_a_batch_of_full_steps_points_at_the_current_screen(processor, phone_rows):
    lessons = StepLessons(phone_rows, processor, read_style(MODEL), 12, 0)
    inputs, truth = lessons.batch()
    assert "shown" not in truth
    screens = (inputs["input_ids"] == lessons.image).sum(1) // (ACROSS * DOWN)
    assert set(screens.tolist()) == {1, 2}
    for row, end, cells in zip(truth["row"].tolist(), truth["end"].tolist(), truth["cells"], strict=True):
        assert int(inputs["labels"][row, end + 1]) in lessons.numbers
        assert cells.sum() == pytest.approx(1)
        current = slice((screens[row] - 1) * ACROSS * DOWN, screens[row] * ACROSS * DOWN)
        assert cells[current].sum() == pytest.approx(1)
    # The four numbers of a box, wherever its row has others: the count in the reasoning, a name that is a number.
    for row in set(truth["row"].tolist()):
        ends = [end for other, end in zip(truth["row"].tolist(), truth["end"].tolist(), strict=True) if other == row]
        box = processor.tokenizer.decode(inputs["input_ids"][row, ends[0] + 1 : ends[3] + 2])
        assert f'": "{box}"' in processor.tokenizer.decode(inputs["input_ids"][row])


@pytest.mark.integration
def test_every_loss_falls(processor):
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype="float32")
    for weights in model.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=0.05)
    lessons = ScreenLessons([SHOWN], processor, 2, 0)
    seeing = Seeing(model, processor.tokenizer.convert_tokens_to_ids(lessons.words))
    chosen, told = optimizers(seeing, model.get_input_embeddings().weight, 2e-3), []
    for _ in range(12):
        losses = seeing(*lessons.batch())
        told.append({name: loss.item() for name, loss in losses.items()})
        seeing.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        for each in chosen:
            each.step()
    assert set(told[0]) == set(WEIGHTS)
    assert all(told[-1][name] < 0.95 * told[0][name] for name in WEIGHTS), (told[0], told[-1])
