"""The end of a training process that ended well."""

import atexit
import os
import sys
import threading
from typing import Any, NoReturn

import torch.distributed as dist


def close_at_exit(engine: Any = None) -> None:
    """At the end of a run that ended well, close the process group before the interpreter goes, and before it vLLM's
    `engine` in this process, which would look for its groups in vain.

    After an error the group stays open, for closing may wait for ranks that are gone. Calling it twice is harmless.
    """
    atexit.unregister(_close)
    atexit.register(_close, engine)


def _close(engine: Any) -> None:
    if engine is not None:
        engine.llm_engine.engine_core.shutdown()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def leave(status: int) -> NoReturn:
    """End this process as the interpreter would, but for clearing its modules: threads are waited for, exit functions
    called, streams flushed.

    Symptom: a finished run's rank aborted ("terminate called without an active exception"), its node reported a failure
    and a launcher would have repeated the run. A thread of gloo that frees its last work's tensors takes the
    interpreter's lock; while modules are cleared, which takes seconds, Python ends a thread that asks for it, and C++
    aborts the process for that. DeepSpeed keeps groups, so closing them does not end their threads.
    Drop when torch frees a work's tensors without the lock.
    """
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
