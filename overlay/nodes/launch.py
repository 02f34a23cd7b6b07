"""Run a launcher's torchrun, and end with a status that says whether starting again makes sense.

    python -m overlay.nodes.launch OUTPUT torchrun ...      (run_scripts/run_grpo_gui.sh)

torchrun makes 1 of every end. Here: 0 finished; 2 refused (settings, data, a folder that holds another run); 4 stopped
on purpose (the reason is in OUTPUT/stopped.json); anything else is torchrun's, and the same command goes on from the
last checkpoint. Where a platform has a rule of its own for statuses, STOPPED_STATUS stands for 2 and 4, FAILED_STATUS
for the others. Starting it is the user's word that a stop's reason is mended.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from overlay.errors import ENDED, FINAL, RunStopped, SettingError, command
from overlay.interrupts import STOPPED
from overlay.training import stopped

PR_SET_PDEATHSIG = 1  # prctl(2)


def status_of(torchrun: int, told: str, stop: dict | None) -> tuple[int, str]:
    """(exit status, reason or "") of a run: torchrun's status, what a rank told ("STATUS reason" or ""), and the
    output folder's record of a stop."""
    if stop is not None:
        return RunStopped.status, str(stop["reason"])
    if torchrun and told:
        status, _, reason = told.partition(" ")
        return int(status), reason
    return (torchrun if torchrun >= 0 else 128 - torchrun), ""


def for_platform(status: int) -> int:
    """The status that the platform is told."""
    name = "STOPPED_STATUS" if status in FINAL else "FAILED_STATUS"
    try:
        return int(os.environ.get(name) or status) if status else 0
    except ValueError:
        raise SettingError(f"{name}={os.environ[name]}: not a number") from None


def run(line: list[str], ended: Path) -> int:
    """torchrun's status. Signals that end a job reach it, SIGKILL too, as SIGTERM; a terminal's Ctrl-C reaches it
    without us."""
    libc = ctypes.CDLL(None)
    if Path(line[0]).name == "torchrun":
        line = [sys.executable, "-m", "overlay.nodes.torchrun", *line[1:]]
    process = subprocess.Popen(
        line, env=os.environ | {ENDED: str(ended)}, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    )
    handlers = {number: lambda number, frame: process.send_signal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers[signal.SIGINT] = lambda number, frame: None
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@command("launch")
def main(argv: list[str] | None = None) -> int:
    """Run the command line after OUTPUT."""
    output, *line = sys.argv[1:] if argv is None else argv
    stopped.forget(output)
    with tempfile.TemporaryDirectory(prefix="launch-") as folder:
        ended = Path(os.environ.get(ENDED) or Path(folder, "ended"))
        status = run(line, ended)
        told = ended.read_text(encoding="utf-8").strip() if ended.is_file() else ""
    status, reason = status_of(status, told, stopped.earlier(output))
    if status == STOPPED:
        print("launch: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
    if reason:
        print(f"launch: {reason} (status {status}: start again when that is mended)", file=sys.stderr)
    return for_platform(status)


if __name__ == "__main__":
    sys.exit(main())
