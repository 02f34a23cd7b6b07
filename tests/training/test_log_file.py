"""What a run logs stands once in a file that grows, and in checkpoints only as far as they need it."""

import json
import shutil
import time
from types import SimpleNamespace

import pytest
from trl import TrlParser

from overlay.backends.trl.arguments import ARGUMENTS
from overlay.backends.trl.train import train
from overlay.errors import RunStopped
from overlay.training import log_file
from overlay.training.log_file import LogFile, read


def logged(log, *steps, writes=True):
    """A trainer's state after it has logged these steps to `log`, a LogFile; it begins before the first."""
    state = SimpleNamespace(is_world_process_zero=writes, global_step=steps[0] - 1, log_history=[])
    log.on_train_begin(None, state, None)
    for step in steps:
        state.log_history.append({"loss": 1 / step, "step": step})
        log.on_log(None, state, None)
    return state


def test_a_resumed_run_has_each_step_once(tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "KEPT", 3)
    log = LogFile(str(tmp_path / "run"))
    assert [entry["step"] for entry in logged(log, 1, 2, 3, 4, 5).log_history] == [3, 4, 5]
    with open(log.file, "a", encoding="utf-8") as file:
        file.write('{"loss": 0.1, "st')  # killed while it wrote
    assert [entry["step"] for entry in read(tmp_path / "run")] == [1, 2, 3, 4, 5]
    logged(log, 4, 5, 6)
    assert [entry["step"] for entry in read(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    logged(log, 1)  # a new run
    (entry,) = read(tmp_path / "run")
    assert abs(entry.pop("time") - time.time()) < 60
    assert entry == {"loss": 1.0, "step": 1}


def test_other_ranks_write_nothing_and_keep_as_little(tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "KEPT", 2)
    state = logged(LogFile(str(tmp_path / "run")), 1, 2, 3, writes=False)
    assert len(state.log_history) == 2
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line(tmp_path):
    log = LogFile(str(tmp_path))
    log.file = type(tmp_path)("/dev/full")
    state = SimpleNamespace(is_world_process_zero=True, log_history=[{"step": 1}])
    with pytest.raises(RunStopped, match=r"/dev/full: No space left on device\. Make room"):
        log.on_log(None, state, None)


@pytest.mark.integration
def test_checkpoints_do_not_grow_with_the_run(flags, tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "KEPT", 3)
    parse = TrlParser(ARGUMENTS).parse_args_and_config
    line = flags(max_steps=6, save_steps=1, reward_funcs="format")
    train(*parse(args=line))
    run = tmp_path / "run"
    for step in (5, 6):
        state = json.loads((run / f"checkpoint-{step}" / "trainer_state.json").read_text())
        assert [entry["step"] for entry in state["log_history"]] == list(range(step - 2, step + 1))
    before = read(run)
    assert [entry["step"] for entry in before if "loss" in entry] == [1, 2, 3, 4, 5, 6]
    shutil.rmtree(run / "checkpoint-6")
    (run / "run.json").unlink()
    train(*parse(args=line))
    assert [(e["step"], e.get("loss")) for e in read(run)] == [(e["step"], e.get("loss")) for e in before]
