"""That a run stopped on purpose, for whatever might start it again: `stopped.json` in its output folder.

A launcher, a scheduler or torchrun's own restarts would only meet the same reason again (a loss that is no number, a
judge that is gone, a full disk), and torchrun makes status 1 of every end. Standard library only.
"""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from overlay.errors import ENDED, Finished, RunStopped

RECORD = "stopped.json"


def keep(output_dir: str, reason: str, step: int) -> None:
    """Write why a run stopped at `step`. The first of several ranks does; a disk that is still full has none."""
    record = {"reason": reason, "status": RunStopped.status, "step": step, "date": time.strftime("%Y-%m-%d %H:%M:%S")}
    with suppress(OSError), open(Path(output_dir, RECORD), "x", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def earlier(output_dir: str) -> dict[str, Any] | None:
    """The record of the last stop, or None. A record that cannot be read is one without a reason."""
    try:
        found = json.loads(Path(output_dir, RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = {}
    return {"reason": "unknown", "step": "unknown", "date": "unknown"} | (found if isinstance(found, dict) else {})


def forget(output_dir: str) -> None:
    """Someone starts the run again: say why it stopped last time, and take the record away."""
    last = earlier(output_dir)
    if last is not None:
        print(f"stopped last time, {last['date']}, step {last['step']}: {last['reason']}", file=sys.stderr)
        Path(output_dir, RECORD).unlink(missing_ok=True)


def not_again(output_dir: str) -> None:
    """Before anything loads: end at once where torchrun has restarted a run (--max_restarts) that stopped on purpose.

    With status 0 under our launcher, which knows better (overlay.nodes.launch): any other would be restarted.
    """
    last = earlier(output_dir)
    if last is not None and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        kind = Finished if ENDED in os.environ else RunStopped
        raise kind(f"stopped on purpose, not started again: {last['reason']}")
