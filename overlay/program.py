"""Run a Python program that is not ours, and end at Ctrl-C as ours do: see `overlay.interrupts`.

python -m overlay.program PATH ARGUMENT ...
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
