"""torchrun, whose end is one line.

    python -m overlay.nodes.torchrun --nproc_per_node 8 script.py ...      (overlay.nodes.launch starts it)

Symptom: of every worker that ends with another status than 0, torchrun prints a report and a traceback of its own,
thirty lines that bury the reason. Here an end that a rank has told (`OVERLAY_ENDED`) is torchrun's status and nothing
more, any other one line for each failed rank of this node. Drop this when torchrun leaves its traceback out.
"""

import logging
import os
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from overlay.errors import ENDED


def told() -> bool:
    """Whether a rank has said why the run ends."""
    return bool(os.environ.get(ENDED)) and os.path.exists(os.environ[ENDED])


def main(argv: list[str] | None = None) -> int:
    """torchrun's own command line and status."""
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").addFilter(lambda record: not told())
    logging.getLogger("torch.distributed.elastic.agent.server.api").addFilter(lambda record: not told())
    try:
        torchrun(sys.argv[1:] if argv is None else argv)
    except ChildFailedError as error:
        if not told():
            for rank, failure in sorted(error.failures.items()):
                print(f"torchrun: rank {rank} ended with status {failure.exitcode}", file=sys.stderr)
        return 1
    except SignalException as error:  # its workers are ended
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main())
