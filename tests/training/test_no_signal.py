"""Rows without a gradient are named when their epoch ends, once, whatever was stopped in between."""

import json
from argparse import Namespace

import pytest
import torch

from overlay.training.no_signal import FOLDER, NoSignal


def every(values):
    """One rank has them all."""
    return values


def part(tmp_path, rank=0, ranks=1, gather=lambda items: items):
    return NoSignal(Namespace(output_dir=str(tmp_path), process_index=rank, world_size=ranks), gather)


def rows(*numbers):
    return [{"source": f"rows.jsonl:{number}"} for number in numbers]


def listed(tmp_path, epoch):
    return [json.loads(line) for line in (tmp_path / FOLDER / f"epoch{epoch}.jsonl").open()]


def test_groups_are_told_apart_by_hand(tmp_path, capsys):
    found = part(tmp_path)
    found.note(rows(1, 1, 2, 2), torch.tensor([[0.5, 0.5], [0.0, 1.0]]), every)
    found.note(rows(3, 3), torch.tensor([[float("nan"), 2.0]]), every)  # one verdict ranks nothing
    found.note(rows(2, 2, 1, 1), torch.tensor([[1.0, 1.0], [0.0, 0.5]]), every)  # both taught something once
    found.note(rows(4, 4), torch.tensor([[0.25, 0.25]]), every)
    found.note(rows(5, 5), torch.tensor([[float("nan"), float("nan")]]), every)  # a judge that did not answer
    found.on_epoch_end(None, Namespace(epoch=1.0), None)
    assert [each["source"] for each in listed(tmp_path, 1)] == ["rows.jsonl:4", "rows.jsonl:3"]  # by reward
    assert "epoch 1: 2 of 4 rows had no signal" in capsys.readouterr().err
    found.on_epoch_begin(None, Namespace(epoch=1.0), None)
    found.note(rows(1, 1), torch.tensor([[0.5, 0.5]]), every)
    found.on_epoch_end(None, Namespace(epoch=2.0), None)
    assert listed(tmp_path, 2) == [{"source": "rows.jsonl:1", "reward": 0.5}]


@pytest.mark.parametrize("stopped", ["in the epoch", "after its last step"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_run_that_goes_on_loses_and_repeats_nothing(tmp_path, stopped, ranks):
    """Two ranks wrote the checkpoint; one, two or three go on. A group lies on both."""
    before = [part(tmp_path, rank, 2) for rank in range(2)]
    rewards = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    for rank, own in enumerate((slice(0, 3), slice(3, 6))):
        before[rank].note(rows(1, 1, 2, 2, 3, 3)[own], rewards, lambda values, own=own: values[own])
        before[rank].save(tmp_path)
    items = []
    after = [part(tmp_path, rank, ranks, lambda own: items) for rank in range(ranks)]
    for each in after:
        each.load(tmp_path)
    items += [item for each in after for item in each.seen.items()]
    state = Namespace(epoch=1.0)
    if stopped == "in the epoch":
        for each in after:
            each.on_epoch_begin(None, Namespace(epoch=0.5), None)
            each.on_epoch_end(None, state, None)
    else:
        for each in after:
            each.on_epoch_begin(None, state, None)
    assert [each["source"] for each in listed(tmp_path, 1)] == ["rows.jsonl:2", "rows.jsonl:1"]
    assert all(not each.seen for each in after)
