"""Ends a run whose ranks wait for one that is slow or gone, and says which. For both trainers.

Symptom: a rank that hangs (a judge, a disk, a lost node) leaves the others in a collective. gloo raises a timeout that
names nobody; NCCL's watchdog aborts the process with a stack of C++ frames. Here every rank writes where it stands into
the process group's store, and a thread that sees no progress for nine tenths of `--ddp_timeout` names the ranks
furthest behind and exits, so that torchrun ends or restarts the run. Nine tenths, to speak before the collective's own
timeout does. All ranks reach that limit at about the same time, the hanging one too; torchrun ends the others when the
first exits, so at least one speaks, and it can be any.
"""

import json
import os
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback

KEY = "overlay/heartbeat"
STATUS = 5  # exit status of a rank that gave up waiting
SHARE = 0.9  # of --ddp_timeout
ASKING = 10.0  # seconds to ask the store, which may be on a node that is gone


class Heartbeat:
    """Where this rank stands, for the others to read, and a thread that watches it. Nothing on one process."""

    def __init__(self, seconds: float):
        self.seconds, self.step, self.changed = seconds, 0, time.monotonic()
        self.store: Any = dist.distributed_c10d._get_default_store() if dist.is_initialized() else None
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if self.store else (0, 1)
        self.beats = 0
        self.stopped = threading.Event()
        if self.world > 1:
            self.beat("step", 0)
            threading.Thread(target=self._watch, name="heartbeat", daemon=True).start()

    def beat(self, phase: str, step: int | None = None) -> None:
        """This rank entered `phase` (of training step `step`)."""
        self.changed, self.beats = time.monotonic(), self.beats + 1
        self.step = self.step if step is None else step
        if self.world > 1:
            record = {"beats": self.beats, "step": self.step, "phase": phase, "host": socket.gethostname()}
            self.store.set(f"{KEY}/{self.rank}", json.dumps(record))

    def stop(self) -> None:
        """Training is over: nobody waits any more."""
        self.stopped.set()

    def behind(self) -> str:
        """The ranks with the fewest beats, in words; those that the store cannot be asked about are unknown."""
        try:
            keys = [f"{KEY}/{rank}" for rank in range(self.world)]
            store = self.store.clone()  # the main thread may be waiting in the other one
            store.set_timeout(timedelta(seconds=ASKING))
            records = [json.loads(value) for value in store.multi_get(keys)]
        except (RuntimeError, ValueError) as error:
            return f"the node of rank 0 cannot be asked ({str(error).splitlines()[0]})"
        fewest = min(record["beats"] for record in records)
        last = [(rank, record) for rank, record in enumerate(records) if record["beats"] == fewest]
        if len(last) == self.world:
            return "all ranks stand at the same place: the network between them"
        return "waiting for " + ", ".join(
            f"rank {rank} on {record['host']} ({record['phase']}, step {record['step']})" for rank, record in last[:8]
        )

    def _asked(self) -> str:
        answer = ["the node of rank 0 cannot be reached"]
        asking = threading.Thread(target=lambda: answer.append(self.behind()), daemon=True)
        asking.start()
        asking.join(ASKING)
        return answer[-1]

    def _watch(self) -> None:
        while not self.stopped.wait(min(1.0, self.seconds / 10)):
            idle = time.monotonic() - self.changed
            if idle > SHARE * self.seconds:
                reason = (
                    f"rank {self.rank}: no progress for {idle:.0f} s in step {self.step} (--ddp_timeout "
                    f"{self.seconds:.0f}): {self._asked()}. The run ends; start it again to go on from the last "
                    "checkpoint\n"
                )
                sys.stderr.write(reason)  # one write with its newline: the ranks share the terminal, and speak at once
                sys.stderr.flush()
                os._exit(STATUS)


class Beats(TrainerCallback):
    """Beats at the trainer's own events; those of generation are RewardLog's."""

    def __init__(self, heartbeat: Heartbeat):
        self.heartbeat = heartbeat

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.heartbeat.beat("step", state.global_step)

    on_substep_end = on_step_end = on_step_begin

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.heartbeat.beat("evaluating", state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.heartbeat.beat("saving", state.global_step)
