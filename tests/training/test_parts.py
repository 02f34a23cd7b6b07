"""The parts of the trainers on their own: no trainer, no model."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from overlay.errors import RunStopped
from overlay.training.checkpoints import ASIDE, PARTS, Checkpoints, publish
from overlay.training.judge_watch import JudgeWatch
from overlay.training.rates import not_repeated
from overlay.training.recorder import Recorder
from overlay.training.refill import Batch, Refill, is_dull
from overlay.training.stop import Stop, refuse

DATASET = [{"image_path": [], "source": f"rows.jsonl:{n + 1}"} for n in range(50)]


# Recorder: what the trainer gets, what is kept.


def test_a_reward_is_recorded_and_handed_over():
    phases = []
    recorder = Recorder([2.0, 0.5], lambda index, scores: [(index, score) for score in scores], phases.append)

    def lengths(completions, **columns):
        return [1.0, float("nan"), None]

    first, path = recorder.wrapped([lengths, "models/reward"])
    assert path == "models/reward"
    assert first(completions=["a", "b", "c"]) == [(0, 1.0), (0, None), (0, None)]
    assert recorder.scores == {"lengths": [1.0, None, None]}
    assert recorder.totals().tolist() == [2.0, 0.0, 0.0]
    assert recorder.components()["lengths"].isnan().tolist() == [False, True, True]
    assert phases == ["in lengths", "scored"]
    recorder.clear()
    assert recorder.scores == {}


# Refill: which rows take whose place, on every rank alike, and on after a resume.


def batch(rows, dull):
    ids = torch.tensor([[int(row["source"].split(":")[1])] for row in rows])
    ones = torch.ones_like(ids)
    result = {"prompt_ids": ids, "prompt_mask": ones, "completion_ids": ids, "completion_mask": ones}
    return Batch(rows, result, torch.tensor(dull))


def test_groups_are_replaced_until_none_is_dull():
    refill = Refill(5, DATASET, generations=2, seed=3, rank=0, pad_id=0)
    left = iter([[True, True], [False, True]])  # the first batch of new prompts ranks nothing, the second one group
    first = batch([DATASET[0]] * 2 + [DATASET[1]] * 2, [True, False])
    made, tried = refill(first, lambda rows: batch(rows, next(left)))
    assert tried == 2
    assert not made.dull.any()
    assert made.result["prompt_ids"][2:].tolist() == [[2], [2]]  # the group that had a gradient stays
    drawn = made.rows[0]["source"]
    assert made.result["prompt_ids"][:2].tolist() == [[int(drawn.split(":")[1])]] * 2


def test_it_gives_up_after_its_batches():
    refill = Refill(3, DATASET, generations=2, seed=3, rank=0, pad_id=0)
    made, tried = refill(batch([DATASET[0]] * 2, [True]), lambda rows: batch(rows, [True]))
    assert (tried, made.dull.tolist()) == (3, [True])
    assert made.rows == [DATASET[0]] * 2


def test_ranks_draw_the_same_prompts():
    ranks = [Refill(1, DATASET, generations=4, seed=3, rank=rank, pad_id=0) for rank in range(2)]
    one, two = ([row["source"] for row in refill.draw(2, 1)] for refill in ranks)
    assert one == two  # a group of four over two ranks


def test_draws_go_on_after_a_resume():
    whole, stopped = (Refill(1, DATASET, generations=2, seed=3, rank=0, pad_id=0) for _ in range(2))
    draws = [whole.draw(4, 2) for _ in range(4)]
    assert len({json.dumps(one) for one in draws}) == 4
    stopped.draw(4, 2)
    stopped.draw(4, 2)
    resumed = Refill(1, DATASET, generations=2, seed=3, rank=0, pad_id=0)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert [resumed.draw(4, 2) for _ in range(2)] == draws[2:]


def test_what_is_dull():
    assert is_dull(torch.tensor([[0.5, 0.5], [0.5, 0.6], [1 / 3, 1 / 3 + 1e-8]])).tolist() == [True, False, True]


# Judge watch and stop.


class FakeJudge:
    settings = SimpleNamespace(judge_max_failure=0.5)

    def __init__(self, *counts):
        self.counts = iter(counts)

    def take_counts(self):
        return SimpleNamespace(**dict(zip(("answers", "asked", "cached", "failed"), next(self.counts), strict=True)))


def test_the_share_without_a_verdict_is_that_of_all_ranks():
    other = torch.tensor([[4.0, 4.0, 0.0, 4.0]], dtype=torch.float64)
    watch = JudgeWatch(FakeJudge((4, 2, 2, 0), (4, 4, 0, 1)), lambda local: torch.cat([local, other]))
    assert watch.look(6) == ({"judge/failure_rate": 0.5, "judge/asked": 6.0, "judge/cached": 2.0}, None)
    _, reason = watch.look(7)
    assert reason.startswith("the judge gave no verdict on 5 of 8 answers in step 7")


def test_a_step_that_asked_nothing_says_nothing():
    assert JudgeWatch(FakeJudge((0, 0, 0, 0)), lambda local: local).look(1) == ({}, None)


def test_a_stop_saves_and_ends_with_its_first_reason():
    stop, control = Stop(), TrainerControl()
    stop.on_step_end(None, None, control)
    assert not control.should_training_stop
    stop("the judge is gone")
    stop("and again")
    stop.on_step_end(None, None, control)
    assert control.should_save
    assert control.should_training_stop
    assert stop.reason == "the judge is gone"


def test_a_bad_loss_leaves_its_rows(tmp_path):
    refuse("loss", torch.tensor(0.3), [], 4, str(tmp_path), 1)
    with pytest.raises(RunStopped, match=r"loss inf in step 4: its rows are in .*bad_loss_rank00001\.jsonl"):
        refuse("loss", torch.tensor(float("inf")), [{"source": "a:1", "image": object()}], 4, str(tmp_path), 1)
    (line,) = (tmp_path / "bad_loss_rank00001.jsonl").read_text().splitlines()
    assert json.loads(line) == {"source": "a:1", "image_path": None, "problem": None, "solution": None}


# Checkpoints.


class Counter:
    """A part with state."""

    def __init__(self):
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def checkpoints_of(root, **settings):
    made = Checkpoints(TrainingArguments(str(root), use_cpu=True, report_to="none", **settings), lambda: None)
    made.parts["counter"] = Counter()
    return made


def saved(checkpoints, root, step, best=False):
    """One checkpoint, written as Trainer does: into the folder that it is told."""
    state = TrainerState(global_step=step)

    def write():
        folder = Path(checkpoints.folder(str(root))) / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text("weights")
        if best:
            state.best_model_checkpoint = str(folder)

    checkpoints.save(root, state, write)
    return state


def test_parts_with_state_are_in_a_checkpoint_and_come_back(tmp_path):
    run = checkpoints_of(tmp_path)
    run.parts["counter"].count = 7
    saved(run, tmp_path, 3)
    assert json.loads((tmp_path / "checkpoint-3" / PARTS).read_text()) == {"counter": {"count": 7}}
    resumed = checkpoints_of(tmp_path)
    assert resumed.start(True, deepspeed=False) == str(tmp_path / "checkpoint-3")
    assert resumed.parts["counter"].count == 7
    assert not (tmp_path / ASIDE).exists()


def test_a_checkpoint_from_before_there_were_parts_is_taken(tmp_path, capsys):
    (tmp_path / "checkpoint-2").mkdir()
    run = checkpoints_of(tmp_path)
    assert run.start(None, deepspeed=False) == str(tmp_path / "checkpoint-2")
    assert run.parts["counter"].count == 0
    assert capsys.readouterr().err == f"resuming from {tmp_path / 'checkpoint-2'}\n"


def test_the_best_checkpoint_is_known_where_it_is_on_every_rank(tmp_path):
    run = checkpoints_of(tmp_path)
    state = saved(run, tmp_path, 5, best=True)
    assert state.best_model_checkpoint == str(tmp_path / "checkpoint-5")
    assert json.loads((tmp_path / "checkpoint-5" / "trainer_state.json").read_text())["best_model_checkpoint"] == str(
        tmp_path / "checkpoint-5"
    )


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path):
    run = checkpoints_of(tmp_path)
    saved(run, tmp_path, 1)

    def full():
        Path(run.folder(str(tmp_path)), "checkpoint-2").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    with pytest.raises(RunStopped, match=r"the disk is full: .*checkpoint-2 could not be written, .*checkpoint-1 is"):
        run.save(tmp_path, TrainerState(global_step=2), full)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1"]


def test_publishing_never_deletes_a_whole_checkpoint(tmp_path, monkeypatch):
    """A node whose directory cache lags still sees the staged folder that another one has renamed."""
    whole, staged = tmp_path / "checkpoint-3", tmp_path / ASIDE / "checkpoint-3"
    whole.mkdir()
    (whole / "model.safetensors").write_text("weights")
    monkeypatch.setattr(Path, "exists", lambda self: True)
    publish(staged, whole)
    assert (whole / "model.safetensors").read_text() == "weights"


def test_a_step_that_is_saved_again_takes_the_place_of_the_old(tmp_path):
    whole, staged = tmp_path / "checkpoint-3", tmp_path / ASIDE / "checkpoint-3"
    for folder, text in ((whole, "old"), (staged, "new")):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(text)
    publish(staged, whole)
    assert (whole / "model.safetensors").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize(
    ("end", "remainder", "first", "own"),
    [(False, 6, 4, 4), (True, 6, 0, 4), (True, 6, 4, 2), (True, 2, 4, 0), (True, 0, 4, 4), (True, -1, 4, 4)],
)
def test_rows_that_fill_the_last_batch_are_not_counted_twice(end, remainder, first, own):
    assert not_repeated(SimpleNamespace(end_of_dataloader=end, remainder=remainder), first, 4) == own
