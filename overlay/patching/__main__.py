"""`python -m overlay.patching`: see overlay.patching.submodule."""

import sys

from overlay.patching.submodule import main

sys.exit(main())
