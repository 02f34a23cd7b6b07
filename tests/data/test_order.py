"""Parts of files in an epoch and easy rows first: by hand, over epochs, and what is refused."""

import json
from argparse import Namespace
from collections import Counter

import pytest

from overlay.data.dataset import load_dataset
from overlay.data.order import Order, order_of, shares
from overlay.errors import DataError, SettingError

FILES = [0] * 12 + [1] * 4


def test_parts_are_whole_and_add_up():
    assert shares(16, [1, 1]) == [8, 8]
    assert shares(10, [1, 1, 1]) == [4, 3, 3]
    assert shares(7, [0.1, 100]) == [0, 7]
    for rows in range(1, 30):
        assert sum(shares(rows, [0.3, 2.2, 1])) == rows


def test_an_epoch_has_its_parts_and_no_row_comes_again_before_all_have_come():
    order = Order(FILES, [1, 3], None, 0, seed=5)
    epochs = [order(n, 16) for n in range(6)]
    assert all(Counter(FILES[row] for row in epoch) == {0: 4, 1: 12} for epoch in epochs)
    assert Counter(row for epoch in epochs for row in epoch if row < 12) == dict.fromkeys(range(12), 2)
    assert Counter(row for epoch in epochs for row in epoch if row >= 12) == dict.fromkeys(range(12, 16), 18)
    assert all(Counter(epoch)[row] == 3 for epoch in epochs for row in range(12, 16))
    assert [order(n, 16) for n in range(6)] == epochs  # of seed and epoch alone
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert Order(FILES, [1, 3], None, 0, seed=6)(0, 16) != epochs[0]
    assert any(epoch != sorted(epoch, key=FILES.__getitem__) for epoch in epochs)  # files are mixed


def test_easy_rows_come_first_in_the_first_epochs():
    easy = [0.0, 1.0, 0.5, 0.25] * 4
    order = Order(FILES, None, easy, 1, seed=5)
    first, second = order(0, 16), order(1, 16)
    assert [easy[row] for row in first] == sorted(easy, reverse=True)
    assert sorted(first) == sorted(second) == list(range(16))
    assert [easy[row] for row in second] != sorted(easy, reverse=True)
    assert first != sorted(range(16), key=lambda row: -easy[row])  # equals at random


def test_rows_that_an_epoch_has_no_place_for_are_not_always_the_same():
    hardest_last = Order([0] * 10, None, [1 - n / 10 for n in range(10)], 9, seed=5)
    assert {row for epoch in range(9) for row in hardest_last(epoch, 8)} == set(range(10))
    assert all(hardest_last(epoch, 8) == sorted(hardest_last(epoch, 8)) for epoch in range(9))
    weighted = Order(FILES, [1, 3], None, 0, seed=5)
    drawn = Counter(row for epoch in range(4) for row in weighted(epoch, 12))  # 3 and 9 of each
    assert {drawn[row] for row in range(12)} == {1}
    assert {drawn[row] for row in range(12, 16)} == {9}


def test_the_sampler_follows_it_also_from_the_middle():
    from overlay.training.sampler import GroupSampler

    order = Order(FILES, [1, 3], [0.5] * 16, 1, seed=2)
    sampler = GroupSampler(FILES, 4, 2, 1, 2, own=order)
    listed = []
    for epoch in range(3):
        sampler.epoch = epoch
        listed += list(sampler)
    assert [row for n, row in enumerate(listed) if n % 2 == 0] == [row for n in range(3) for row in order(n, 16)]
    assert sampler.at(40, 20) == listed[40:60]


@pytest.fixture
def given(tmp_path):
    """Function (difficulties, **flags) → (args, rows) of two files, the second with these difficulties."""

    def make(column=(None, None), **flags):
        for name, values in (("a", [None, None, None]), ("b", column)):
            rows = [
                {"conversations": [{"from": "human", "value": f"{name}{n}"}, {"from": "gpt", "value": "1"}]}
                | ({} if value is None else {"difficulty": value}) for n, value in enumerate(values)
            ]  # fmt: skip
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        paths = f"{tmp_path}/a.jsonl:{tmp_path}/b.jsonl"
        args = Namespace(**{"data_weights": None, "curriculum_epochs": 0, "data_file_paths": paths} | flags)
        return args, load_dataset(paths, f"{tmp_path}:{tmp_path}", cache_dir=tmp_path / "arrow")

    return make


def test_flags_make_it(given):
    assert order_of(*given(), 0) is None
    order = order_of(*given(data_weights="1:4"), 0)
    assert [Counter(row >= 3 for row in order(n, 5)) for n in range(2)] == [{False: 1, True: 4}] * 2
    order = order_of(*given((1.0, 0.0), curriculum_epochs=2), 0)
    assert (order(0, 5)[0], order(1, 5)[-1]) == (3, 4)
    assert set(order(0, 5)[1:4]) == {0, 1, 2}  # not known: in the middle


@pytest.mark.parametrize("value", ["1", "1:2:3", "1:0", "1:-1", "a:b", "1:nan", "1:inf"])
def test_weights_that_are_none_are_refused(value, given):
    with pytest.raises(SettingError, match=r"--data_weights .*: give a number above 0 for each of 2 data files"):
        order_of(*given(data_weights=value), 0)


def test_what_is_not_there_is_refused(given):
    args, rows = given(data_weights="1:1")
    with pytest.raises(DataError, match=r"--data_weights 1:1: no row of .*b.jsonl is left to be drawn"):
        order_of(args, rows.select([0, 1]), 0)
    with pytest.raises(SettingError, match=r"--data_weights 1:1000: an epoch of 5 rows has none of .*a.jsonl"):
        order_of(*given(data_weights="1:1000"), 0)
    with pytest.raises(DataError, match=r"--curriculum_epochs 1: no row has a difficulty"):
        order_of(*given(curriculum_epochs=1), 0)
