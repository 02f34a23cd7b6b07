"""Run a script under torchrun with gloo, for tests on machines without an accelerator.

    torchrun --nproc_per_node 2 tests/run_on_gloo.py SCRIPT [ARGUMENTS]

Symptom: under DeepSpeed, accelerate's PartialState asks for no backend when it sees no accelerator, and DeepSpeed then
believes in a world of one. Choosing gloo when LOCAL_RANK is set is enough. It stands here, not in the product: real
runs have accelerators.
"""

import os
import runpy
import sys

from accelerate.state import PartialState

_prepare_backend = PartialState._prepare_backend


def on_gloo(self, cpu=False, sagemaker_dp=False, backend=None):
    """accelerate's choice for the CPU, whatever was asked for."""
    return _prepare_backend(self, True, sagemaker_dp, backend)


PartialState._prepare_backend = on_gloo
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))  # the script's folder, as Python itself sets it
runpy.run_path(sys.argv[0], run_name="__main__")
