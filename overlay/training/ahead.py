"""`--generate_ahead 1`: a vLLM server makes the next batch while this one is rewarded and trained on.

So the next batch is sampled with the weights that this one was trained from, one batch behind the policy. The ratio of
the policy's log-probs to those that were sampled with corrects the loss, as it does what else differs between trainer
and sampler. New weights are handed over between two requests.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from overlay.errors import RunStopped, UserError

Ask = Callable[[list[list[int]], list[Any], dict[str, Any]], dict[str, Any]]  # prompts, images, sampling → completions


@dataclass
class Turn:
    """One batch of training: its `place` in the run (micro-steps before it), that of the `following` one, and the
    numbers of that one's `rows`, each once; none after the last batch."""

    place: int
    following: int
    rows: list[int]


class GenerateAhead:
    """On rank 0. `ask`: the server, for completions; `prepare`: rows' numbers → (prompts as ids, images of each), in
    a thread. `turn` is set before each batch of training; what else is generated (an evaluation, new prompts for dull
    groups) has none and is asked for at once. Its state is the batch that has been made."""

    def __init__(self, ask: Ask, prepare: Callable[[list[int]], tuple[list[list[int]], list[Any]]]):
        self.ask, self.prepare = ask, prepare
        self.turn: Turn | None = None
        self.waited, self.used = 0.0, 0.0
        self._thread: threading.Thread | None = None
        self._made: dict[str, Any] | None = None  # place, prompts, output
        self._error: Exception | None = None

    def generate(self, prompts: list[list[int]], images: list[Any], how: dict[str, Any]) -> dict[str, Any]:
        """The batch that has its turn, made ahead or (the first one) now; then the following one is asked for."""
        turn, self.turn = self.turn, None
        if turn is None:
            return self.ask(prompts, images, how)
        output = self._taken(turn.place, prompts)
        self.used = float(output is not None)
        if output is None:
            began = time.monotonic()
            output = self.ask(prompts, images, how)
            self.waited += time.monotonic() - began
        if turn.rows:
            self._thread = threading.Thread(target=self._make, args=(turn.following, turn.rows, how), daemon=True)
            self._thread.start()
        return output

    def wait(self) -> None:
        """Until no request is in flight."""
        if self._thread is not None:
            began = time.monotonic()
            self._thread.join()
            self.waited, self._thread = self.waited + time.monotonic() - began, None

    def metrics(self) -> dict[str, float]:
        """Of the last batch: seconds that the run waited for it, and whether it was made ahead."""
        waited, self.waited = self.waited, 0.0
        return {"generate_ahead/waited_s": waited, "generate_ahead/used": self.used}

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs: it could not be made again, since the server has had other weights since."""
        self.wait()
        return self._made or {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._made = state or None

    def _make(self, place: int, rows: list[int], how: dict[str, Any]) -> None:
        try:
            prompts, images = self.prepare(rows)
            self._made = {"place": place, "prompts": prompts, "output": self.ask(prompts, images, how)}
        except Exception as error:  # noqa: BLE001  raised where it is missed, see _taken
            self._error = error

    def _taken(self, place: int, prompts: list[list[int]]) -> dict[str, Any] | None:
        """What was made for this place, or None. Raises what kept it from being made, but for a fault of the rows
        themselves, which the trainer meets in opening them."""
        self.wait()
        made, error, self._made, self._error = self._made, self._error, None, None
        if error is not None and (isinstance(error, RunStopped) or not isinstance(error, UserError)):
            raise error
        if made is None or (made["place"], made["prompts"]) != (place, prompts):
            return None
        return made["output"]
