"""An end on purpose has a status of its own, whatever torchrun makes of it, and nothing starts it again."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from overlay.errors import ENDED, Finished, RunStopped
from overlay.nodes.launch import main
from overlay.training import stopped
from tests.stock import ROOT

REFUSED = """
from overlay.errors import SettingError, command
@command("train")
def main(argv=None):
    raise SettingError("--loud 3: at most 2")
main()
raise SystemExit(1)  # as torchrun ends
"""
STOPPED = """
import sys
from overlay.training import stopped
stopped.keep(sys.argv[1], "the loss is nan", 7)
raise SystemExit(int(sys.argv[2]))
"""


def launch(output, script, *words):
    return main([str(output), sys.executable, "-c", script, *map(str, words)])


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (ENDED, "STOPPED_STATUS", "FAILED_STATUS", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize(
    ("script", "words", "status"),
    [
        ("", (), 0),
        ("raise SystemExit(1)", (), 1),
        ("import os; os.kill(os.getpid(), 9)", (), 137),
        (REFUSED, (), 2),
        (STOPPED, ("{output}", 1), 4),
        (STOPPED, ("{output}", 0), 4),  # torchrun restarted it, and all ranks ended at once
    ],
)
def test_statuses(script, words, status, tmp_path, capfd, monkeypatch):
    words = [str(word).format(output=tmp_path) for word in words]
    assert launch(tmp_path, script, *words) == status
    printed = capfd.readouterr().err
    assert ("launch: --loud 3: at most 2 (status 2" in printed) == (status == 2)
    assert ("launch: the loss is nan (status 4" in printed) == (status == 4)
    monkeypatch.setenv("STOPPED_STATUS", "0")
    monkeypatch.setenv("FAILED_STATUS", "138")
    assert launch(tmp_path, script, *words) == {0: 0, 1: 138, 137: 138, 2: 0, 4: 0}[status]


def test_who_starts_it_again_hears_why_it_stopped(tmp_path, capfd):
    stopped.keep(str(tmp_path), "the judge is gone", 3)
    stopped.keep(str(tmp_path), "and so is another rank", 4)
    assert launch(tmp_path, "") == 0
    assert "step 3: the judge is gone" in capfd.readouterr().err
    assert not (tmp_path / stopped.RECORD).exists()
    assert launch(tmp_path, "") == 0
    assert "stopped" not in capfd.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{", '{"reason": "x"}'])
def test_a_record_cut_short_is_a_stop_still(text, tmp_path, capsys):
    (tmp_path / stopped.RECORD).write_text(text)
    assert set(stopped.earlier(str(tmp_path))) >= {"reason", "step", "date"}
    stopped.forget(str(tmp_path))
    assert capsys.readouterr().err.startswith("stopped last time")


def test_a_full_disk_keeps_no_record_and_hides_no_reason(tmp_path):
    stopped.keep(str(tmp_path / "gone"), "the disk is full", 1)
    assert launch(tmp_path / "gone", REFUSED.replace("SettingError", "RunStopped")) == 4


def test_torchruns_restarts_end_at_once(tmp_path, monkeypatch):
    stopped.not_again(str(tmp_path))
    stopped.keep(str(tmp_path), "the loss is nan", 7)
    stopped.not_again(str(tmp_path))  # a first start
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(RunStopped, match="not started again: the loss is nan"):
        stopped.not_again(str(tmp_path))
    monkeypatch.setenv(ENDED, str(tmp_path / "ended"))
    with pytest.raises(Finished, match="the loss is nan"):
        stopped.not_again(str(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_jobs_end_reaches_torchrun(number, tmp_path):
    ready = tmp_path / "ready"
    script = (
        f"import signal, sys, time; signal.signal({int(number)}, lambda *_: sys.exit(9)); open({str(ready)!r}, 'w'); "
        "time.sleep(60)"
    )

    def end():
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=end).start()
    before = signal.getsignal(number)
    assert launch(tmp_path, script) == 9
    assert signal.getsignal(number) == before


def test_a_killed_launcher_takes_torchrun_along(tmp_path):
    ready = tmp_path / "ready"
    script = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    line = [sys.executable, "-m", "overlay.nodes.launch", str(tmp_path), sys.executable, "-c", script]
    process = subprocess.Popen(line, cwd=ROOT)
    while not ready.exists() or not ready.read_text():
        time.sleep(0.01)
    handle = os.pidfd_open(int(ready.read_text()))
    process.kill()
    process.wait()
    assert select.select([handle], [], [], 30)[0]  # it has ended


@pytest.mark.integration
@pytest.mark.slow
def test_torchrun_with_restarts_stops_once(flags, tmp_path):
    """A judge that nobody serves: the run stops in its first step, and torchrun, which may restart it, has nothing to
    restart."""
    line = flags(
        reward_method="llm", judge_model="nobody", judge_retries=0, judge_max_failure=0, reward_funcs="accuracy",
        max_steps=2,
    )  # fmt: skip
    torchrun = [
        str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "1", "--max_restarts", "3",
        "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "overlay.nodes.launch", str(tmp_path / "run"), *torchrun,
         "-m", "overlay.backends.trl.train", *line],
        capture_output=True, text=True, cwd=ROOT, timeout=150,
        env=os.environ | {"OPENAI_API_BASE": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "none", "OMP_NUM_THREADS": "1",
                          "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr[-3000:]
    assert done.stderr.count("not started again") == 1
    assert "launch: the judge gave no verdict" in done.stderr.splitlines()[-1]
    record = json.loads((tmp_path / "run" / stopped.RECORD).read_text())
    assert (record["status"], record["step"]) == (4, 1)
