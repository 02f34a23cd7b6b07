"""Start `overlay.pages.watch.server` as `python -m overlay.pages.watch`."""

import sys

from overlay.pages.watch.server import main

if __name__ == "__main__":
    sys.exit(main())
