"""Ctrl-C at a known moment: SIGINT for the whole process group, as from a terminal, when this process first imports the
module `SIGINT_AT=import:NAME` or opens a path that ends in `SIGINT_AT=open:NAME`; once for all processes
(SIGINT_ONCE)."""

import os
import signal
import sys

if "SIGINT_AT" in os.environ:
    # A rank of torchrun's has a group of its own, which a terminal does not reach.
    os.environ.setdefault("SIGINT_GROUP", str(os.getpgrp()))
    event, _, name = os.environ["SIGINT_AT"].partition(":")

    def look(happens, about):
        if happens != event or not str(about[0]).endswith(name) or (event == "import" and about[0] != name):
            return
        try:
            os.close(os.open(os.environ["SIGINT_ONCE"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.killpg(int(os.environ["SIGINT_GROUP"]), signal.SIGINT)

    sys.addaudithook(look)
