"""Rows with other screens: which rows, which screens, and that nothing else of a row changes."""

import pytest
from PIL import Image

from overlay.data.dataset import load_dataset
from overlay.demo.looks import LOOKS, changed, two_screens
from tests.stock import TASKS


@pytest.fixture
def rows(demo_rows, tmp_path):
    return load_dataset(str(demo_rows), str(TASKS / "train"), cache_dir=tmp_path / "arrow")


@pytest.mark.parametrize("look", LOOKS)
def test_only_the_screens_change(look, rows, tmp_path):
    made = changed(rows, look, tmp_path)
    about = rows.select(two_screens(rows)) if look == "swapped" else rows
    assert len(made) == len(about) > 50
    for column in set(rows.column_names) - {"image"}:
        assert made[column] == about[column]
    for before, after in zip(about["image"], made["image"], strict=True):
        assert len(after) == len(before)
        assert after != before or not before


def test_each_look(rows, tmp_path):
    grey = changed(rows, "grey", tmp_path)["image"]
    for before, after in zip(rows["image"][:20], grey[:20], strict=True):
        for own, other in zip(before, after, strict=True):
            with Image.open(own) as screen, Image.open(other) as picture:
                assert picture.size == screen.size
                assert picture.convert("L").getextrema() == (128, 128)
    assert sorted(map(tuple, changed(rows, "another's", tmp_path)["image"])) == sorted(map(tuple, rows["image"]))
    swapped = changed(rows, "swapped", tmp_path)["image"]
    assert [paths[::-1] for paths in swapped] == rows.select(two_screens(rows))["image"]
