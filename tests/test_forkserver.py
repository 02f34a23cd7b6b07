"""The fork server of the tests: its ranks are processes of their own, and a launcher stands over them."""

import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
SAY = """
import os, sys, torch
print(__name__, sys.argv, os.environ["RANK"], os.environ["WORLD_SIZE"], os.getcwd(), torch.get_num_threads())
sys.exit("rank 1 says why" if os.environ["RANK"] == "1" else 0)
"""
WAIT = """
import os, time
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), 9)
time.sleep(1000)
"""


@pytest.fixture
def script(tmp_path):
    """Function: a file with the given program."""

    def write(text):
        (tmp_path / "program.py").write_text(text)
        return tmp_path / "program.py"

    return write


def test_a_rank_is_a_process_of_its_own(script, forks, tmp_path):
    done = forks.run([script(SAY), "--flag"], tmp_path / "log", 2, folder=tmp_path)
    assert done.statuses == [0, 1]
    line = f"__main__ ['{tmp_path}/program.py', '--flag'] {{}} 2 {tmp_path} 1\n"
    assert done.out == line.format(0) + line.format(1)
    assert done.err == "rank 1 says why\n"


def test_one_that_dies_ends_the_others(script, forks, tmp_path):
    assert forks.run([script(WAIT)], tmp_path / "log", 2).statuses == [-signal.SIGTERM, -signal.SIGKILL]


def test_a_client_that_hangs_up_ends_all(script, forks, tmp_path):
    job = forks.start([script("import time\ntime.sleep(1000)")], tmp_path / "log")
    assert job.running()
    job.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{job.pids[0]}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
