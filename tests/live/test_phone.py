"""Our own pages: every seed draws one that a finger can act on; right actions are rewarded, wrong ones are not."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from overlay.action.action import Action
from overlay.live.environment import Goal
from overlay.live.phone import photo
from overlay.live.phone.environment import COLOURS, PAGES, SCALE
from overlay.live.phone.kinds import HELD_OUT_KINDS, KINDS, TRAINED_KINDS, draw
from overlay.live.phone.screen import COLUMNS, HEIGHT, ROWS, WIDTH
from overlay.live.phone.tasks import APP, draw_task
from overlay.live.phone.words import LANGUAGES, UNSEEN, vocabulary
from tests.conftest import needs_chromium

SEEDS = range(60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pages_elements_have_names_of_their_own_and_lie_on_it(kind):
    for lang in LANGUAGES:
        for seed in SEEDS:
            elements = draw(kind, random.Random(seed), lang).elements
            names = [each.name for each in elements if each.name]
            assert names
            assert len(set(names)) == len(names)
            assert all(e.x >= 0 and e.y >= 0 and e.x + e.w <= COLUMNS and e.y + e.h <= ROWS for e in elements)
            assert not UNSEEN & set(names)
            assert draw(kind, random.Random(seed), lang).elements == elements


def test_held_out_pages_and_labels_are_no_others():
    assert len(KINDS) >= 20
    assert not set(HELD_OUT_KINDS) & set(TRAINED_KINDS)
    assert 300 < len(UNSEEN) < 500
    seen = [draw_task(random.Random(seed), lang, TRAINED_KINDS, False) for seed in SEEDS for lang in LANGUAGES]
    assert {step.screen.kind for task in seen for step in task.steps} <= set(TRAINED_KINDS)
    assert not UNSEEN & {step.name for task in seen for step in task.steps}
    unseen = [draw_task(random.Random(seed), lang, ["entries"], True) for seed in SEEDS for lang in LANGUAGES]
    assert all(step.name in UNSEEN for task in unseen for step in task.steps if step.target is not None)


def test_neither_plan_nor_task_says_where():
    """The same words for all steps; the same task on another seed's page has its target elsewhere."""
    tasks = [draw_task(random.Random(seed), "en", TRAINED_KINDS, False) for seed in SEEDS]
    assert len({line for task in tasks for line in task.plan}) == 1
    places = {}
    for seed in range(400):
        step = draw_task(random.Random(seed), "en", ["keypad"], False).steps[0]
        if step.name == "7":
            element = step.screen.elements[step.target]
            places.setdefault((element.x, element.y), []).append(seed)
    assert len(places) > 8


@pytest.fixture(scope="module")
def phone():
    with PAGES.open() as environment:
        yield environment


def right(environment, box):
    """The action of the step that is due, at the middle of `box` where it has a place."""
    due = environment.steps[0]
    if due.gesture == "type":
        return Action("type", due.text)
    return Action(due.gesture, ",".join(str(value * SCALE) for value in box))


def due_box(environment):
    due = environment.steps[0]
    if due.target is None:
        return None
    element = due.screen.elements[due.target]
    unit = WIDTH // COLUMNS
    return [v * unit for v in (element.x, element.y, element.x + element.w, element.y + element.h)]


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_the_right_actions_are_rewarded_and_a_wrong_one_ends_it(kind, phone):
    for seed in range(4):
        goal = phone.reset(kind, seed)
        assert isinstance(goal, Goal)
        assert goal.app == APP
        while phone.reward() is None:
            assert phone.act(right(phone, due_box(phone)))
        assert phone.reward() == 1
        # Another element that has a name, and the same element in another way.
        phone.reset(kind, seed)
        due = phone.steps[0]
        other = next(e for e in due.screen.elements if e.name and e.name != due.name)
        unit = SCALE * WIDTH // COLUMNS
        middle = f"{(other.x + other.w / 2) * unit},{(other.y + other.h / 2) * unit}"
        assert phone.act(Action(due.gesture, middle))
        assert phone.reward() == 0
        phone.reset(kind, seed)
        assert phone.act(
            Action({"click": "long_click", "long_click": "click"}[due.gesture], right(phone, due_box(phone)).parameter)
        )
        assert phone.reward() == 0


@needs_chromium
@pytest.mark.integration
def test_what_is_no_action_of_the_page_changes_nothing(phone):
    phone.reset("entries", 0)
    for action in (
        Action("click", "5,5"),
        Action("swipe", "5,5,5,90"),
        Action("type", "x"),
        Action("click", "nowhere"),
    ):
        assert not phone.act(action)
        assert phone.reward() is None


@needs_chromium
@pytest.mark.integration
def test_boxes_are_the_browsers_and_every_word_is_in_the_vocabulary():
    screens = [draw(kind, random.Random(3), lang) for kind in KINDS for lang in LANGUAGES]
    unit, words = WIDTH // COLUMNS, set(vocabulary())

    def take():
        with photo.open_page(SCALE) as page:
            return list(photo.photograph(page, screens))

    with ThreadPoolExecutor(1) as thread:  # of its own, as Playwright wants it beside another's page
        photos = thread.submit(take).result()
    assert len(photos) == len(screens)
    for screen, taken in zip(screens, photos, strict=True):
        assert taken.image.size == (WIDTH * SCALE, HEIGHT * SCALE)
        assert {word for word, _ in taken.words} <= words
        for element, box in zip(screen.elements, taken.boxes, strict=True):
            drawn = [element.x, element.y, element.x + element.w, element.y + element.h]
            assert list(box) == [value * unit for value in drawn]
        assert len(taken.image.quantize(COLOURS).getcolors()) > 2
