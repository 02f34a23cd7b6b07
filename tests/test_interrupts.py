"""Ctrl-C at several moments: one line, status 130, and what was there before is there still."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from overlay.demo import run as demo
from overlay.errors import RunStopped
from tests.broken_server import broken_server
from tests.conftest import needs_chromium, step_record, write_step
from tests.stock import ROOT, TASKS

pytestmark = pytest.mark.integration


def interrupted(command, ready, **options):
    """(status, standard error) of a command that Ctrl-C reaches, with all its processes, when `ready(process)` is."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, start_new_session=True, **options,
    )  # fmt: skip
    ready(process)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert "Traceback" not in told
    return process.returncode, told.splitlines()[-1]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A tree of 8,000 steps that link to one screen."""
    root = tmp_path_factory.mktemp("many")
    screen = next((TASKS / "train").rglob("*.png"))
    for task in range(1, 401):
        for step in range(1, 21):
            write_step(root / str(task), step, step_record("back", "", "", "s.png"))
        os.link(screen, root / str(task) / "s.png") if root.stat().st_dev == screen.stat().st_dev else shutil.copy(
            screen, root / str(task) / "s.png"
        )
    return root


@pytest.mark.parametrize(("workers", "delay"), [(1, 0.0), (2, 0.0), (2, 0.4)])
def test_data_leaves_the_old_rows(workers, delay, many, tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text("old\n")

    def ready(process):
        assert process.stderr.read(1)  # the progress bar is there
        time.sleep(delay)

    line = ["data_prep.convert", many, "--out", out, "--workers", workers, "--image-check", "header"]
    assert interrupted(line, ready) == (130, "data: stopped")
    assert out.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_infer_leaves_the_old_picture(demo_rows, tmp_path):
    picture = tmp_path / "answer.png"
    picture.write_bytes(b"old")
    with socket.create_server(("127.0.0.1", 0)) as server:  # it takes the question and says nothing
        port = server.getsockname()[1]
        line = ["overlay.serve.ask", "--url", f"http://127.0.0.1:{port}/v1", "--name", "m", "--data", demo_rows]
        line += ["--images", TASKS / "train", "--out", picture]
        status, told = interrupted(line, lambda process: server.accept())
    assert (status, told) == (130, "infer: stopped")
    assert picture.read_bytes() == b"old"


@needs_chromium
@pytest.mark.long
@pytest.mark.parametrize("played", [0, 1, 3])
def test_play_keeps_what_was_played(played, tmp_path):
    """With its browsers, as a terminal's Ctrl-C reaches them: before the first episode ends, after one and three."""
    lines = tmp_path / "out" / "episodes.jsonl"
    with broken_server() as server:
        server.kind = "as usual"

        def ready(process):
            while not server.requests or (lines.read_bytes().count(b"\n") if lines.exists() else 0) < played:
                time.sleep(0.02)

        line = ["overlay.play.run", "--url", server.url, "--name", "m", "--tasks", "click-test", "--episodes", "20"]
        status, told = interrupted([*line, "--out", tmp_path / "out"], ready)
    assert status == 130
    assert told.startswith("play: stopped; ")
    kept = int(told.split("; ")[1].split()[0])
    assert kept >= played
    assert (lines.read_text().count("\n") if kept else 0) == kept
    assert (tmp_path / "out" / "play.html").exists() == (kept > 0)


def test_the_demo_goes_on_by_seed(tmp_path, monkeypatch, capsys):
    """A seed whose run is whole is not trained again; one of other steps, or cut short, is."""
    monkeypatch.setattr(demo, "commit", lambda root: "abc123")
    making = "import sys, os; os.makedirs(sys.argv[sys.argv.index('--output_dir') + 1], exist_ok=True)"
    monkeypatch.setitem(demo.GRPO, "trl", ["-c", making])
    folder = demo.train(tmp_path, 0, 5, "trl")
    (folder / "mark").touch()
    assert demo.train(tmp_path, 0, 5, "trl") == folder
    assert "is there already" in capsys.readouterr().err
    assert (folder / "mark").exists()
    assert demo.done(folder)["steps"] == 5
    demo.train(tmp_path, 0, 6, "trl")
    assert not (folder / "mark").exists()
    assert "seed-0 is made anew (steps 5 there, 6 now)" in capsys.readouterr().err
    monkeypatch.setitem(demo.GRPO, "trl", ["-c", "raise SystemExit(3)"])
    with pytest.raises(RunStopped, match="seed 1 ended with status 3"):
        demo.train(tmp_path, 1, 5, "trl")
    assert demo.done(tmp_path / "seed-1") is None
    monkeypatch.setattr(demo, "commit", lambda root: "abc123+")  # its code has changed, nobody can say how
    with pytest.raises(RunStopped):
        demo.train(tmp_path, 0, 6, "trl")


def test_the_demo_says_what_is_kept(tmp_path, monkeypatch, capsys):
    def train(out, seed, steps, backend):
        if seed == 2:
            raise KeyboardInterrupt
        folder = out / f"seed-{seed}"
        folder.mkdir()
        made = demo.making(steps, backend) | ({"steps": 1} if seed else {})
        (folder / demo.MADE).write_text(json.dumps(made))
        return folder

    class Scorer:
        def __init__(self, *about):
            pass

        def scored(self, folder, name):
            return None

    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "rows_of", lambda out, split: [])
    monkeypatch.setattr(demo, "Scorer", Scorer)
    monkeypatch.setattr(demo, "reward_curve", lambda folder: [])
    assert demo.main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == ("demo: stopped; 1 of 3 seeds are trained: start again to go on")
