"""The batch that is generated while another one is trained on."""

import threading

import pytest

from overlay.errors import DataError, RunStopped
from overlay.training.ahead import GenerateAhead, Turn
from overlay.training.sampler import GroupSampler

HOW = {"n": 2}


class Server:
    """Answers with the number of the request; `gate` holds back the later ones."""

    def __init__(self):
        self.asked, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, prompts, images, how):
        self.asked.append(prompts)
        number = len(self.asked)
        self.gate.wait(10)
        return {"number": number}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def ahead(server):
    return GenerateAhead(server, lambda rows: ([[row] for row in rows], [None] * len(rows)))


def test_a_batch_is_made_while_the_one_before_is_at_hand(ahead, server):
    ahead.turn = Turn(0, 2, [7, 8])
    assert ahead.generate([[1]], [], HOW) == {"number": 1}
    assert ahead.metrics()["generate_ahead/used"] == 0
    ahead.turn = Turn(2, 4, [])
    assert ahead.generate([[7], [8]], [], HOW) == {"number": 2}
    assert ahead.metrics()["generate_ahead/used"] == 1
    assert server.asked == [[[1]], [[7], [8]]]  # and none after the last


def test_what_has_no_turn_is_asked_for_at_once(ahead, server):
    ahead.turn = Turn(0, 1, [7])
    ahead.generate([[1]], [], HOW)
    assert ahead.generate([[7]], [], HOW) == {"number": 3}  # the same prompts, of an evaluation
    ahead.turn = Turn(1, 2, [])
    assert ahead.generate([[7]], [], HOW) == {"number": 2}


def test_another_batch_than_was_made_is_asked_for(ahead):
    for turn, prompts in ((Turn(1, 2, []), [[8]]), (Turn(3, 4, []), [[7]])):
        ahead.turn = Turn(0, 1, [7])
        ahead.generate([[1]], [], HOW)
        ahead.turn = turn
        ahead.generate(prompts, [], HOW)
        assert ahead.used == 0


def test_waiting_is_counted_and_a_state_waits(ahead, server):
    ahead.turn = Turn(0, 1, [7])
    ahead.generate([[1]], [], HOW)
    ahead.metrics()
    server.gate.clear()
    ahead.wait()
    ahead.turn = Turn(1, 2, [9])
    threading.Timer(0.2, server.gate.set).start()
    ahead.generate([[7]], [], HOW)
    state = ahead.state_dict()
    assert state == {"place": 2, "prompts": [[9]], "output": {"number": 3}}
    assert ahead.metrics()["generate_ahead/waited_s"] >= 0.15
    again = GenerateAhead(server, ahead.prepare)
    again.load_state_dict(state)
    again.turn = Turn(2, 3, [])
    assert again.generate([[9]], [], HOW) == {"number": 3}
    again.load_state_dict({})
    assert again.state_dict() == {}


@pytest.mark.parametrize(("error", "seen"), [(DataError("row"), False), (RunStopped("gone"), True), (OSError(), True)])
def test_a_server_that_fails_is_told_of_and_a_bad_row_left_to_the_trainer(ahead, error, seen):
    def prepare(rows):
        raise error

    ahead.prepare = prepare
    ahead.turn = Turn(0, 1, [7])
    ahead.generate([[1]], [], HOW)
    ahead.turn = Turn(1, 2, [])
    if seen:
        with pytest.raises(type(error)):
            ahead.generate([[7]], [], HOW)
    else:
        assert ahead.generate([[7]], [], HOW) == {"number": 2}


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_rows_to_come_are_those_that_come(shuffle):
    sampler = GroupSampler(range(7), 2, 3, 2, seed=4, shuffle=shuffle)
    found = []
    for sampler.epoch in range(3):
        found += list(sampler)
    size = 6
    assert [n for first in range(0, len(found), size) for n in sampler.at(first, size)] == found
    assert len(set(found[:size])) == 2
