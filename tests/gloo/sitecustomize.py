"""On PYTHONPATH of a test's torchrun: its workers use gloo, on machines without an accelerator.

Symptom: under DeepSpeed, accelerate's PartialState asks for no backend when it sees no accelerator, and DeepSpeed then
believes in a world of one. Choosing gloo when LOCAL_RANK is set is enough. It stands here, not in the product: real
runs have accelerators.

Where GATE names a folder, each rank leaves a file `<rank>.came` there before it meets the others, and stays while there
is a file `<rank>.held`: a test decides who comes late.
"""

import os
import time
from pathlib import Path

if "LOCAL_RANK" in os.environ:
    from accelerate.state import PartialState

    _prepare_backend = PartialState._prepare_backend

    def on_gloo(self, cpu=False, sagemaker_dp=False, backend=None):
        """accelerate's choice for the CPU, whatever was asked for."""
        if gate := os.environ.get("GATE"):
            Path(gate, f"{os.environ['RANK']}.came").touch()
            while Path(gate, f"{os.environ['RANK']}.held").exists():
                time.sleep(0.05)
        return _prepare_backend(self, True, sagemaker_dp, backend)

    PartialState._prepare_backend = on_gloo
