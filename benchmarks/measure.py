"""Run a piece of work in a fresh process and report its seconds and its added memory."""

import json
import subprocess
import sys

# Added memory is the growth of the process's own pages (USS) and of the largest resident set while it worked.
RUNNER = """
import json, resource, sys, time
import psutil
import {module} as side
work = side.{function}
getattr(side, "prepare", lambda *arguments: None)(*sys.argv[1:])
process = psutil.Process()
before = process.memory_full_info().uss
peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
started = time.perf_counter()
kept = work(*sys.argv[1:])
seconds = time.perf_counter() - started
after = process.memory_full_info().uss
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"seconds": seconds, "added": after - before, "peak": peak,
                  "peak_before": peak_before, "rows": len(kept), "kept": kept if isinstance(kept, dict) else None}}))
"""


def measure(module: str, function: str, *arguments: object) -> dict[str, float]:
    """Seconds, added bytes, peak bytes (and before the work) and rows of `module.function(*arguments)`; imports are not
    counted, nor is what `module.prepare(*arguments)` does where there is one."""
    code = RUNNER.format(module=module, function=function)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module}.{function} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
