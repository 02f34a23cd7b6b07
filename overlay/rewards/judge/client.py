"""Ask the judge about all answers of a step at once, within a deadline, and count what failed.

One event loop, in a thread of its own, and one pooled client live as long as the process: a client bound to a dead
loop would crash, and both trainers call rewards from plain functions. How a server is asked, and what its reply is, is
`overlay.chat`'s.
"""

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pybreaker import CircuitBreaker, CircuitBreakerError

from overlay.action.completion import split
from overlay.chat import Chat, NoAnswer
from overlay.errors import SettingError
from overlay.rewards.judge.cache import Verdicts, default_folder
from overlay.rewards.judge.prompt import RESPONSE_FORMAT, BadReply, instructions, messages, parse_reply, version
from overlay.settings import JudgeArguments

FAILURES_IN_A_ROW, PAUSE = 16, 20.0  # then the server is left alone for so many seconds
REPLY_TOKENS = 32
# Reasons for no verdict, beside those of `overlay.chat`; none quotes the server, which may quote the key or the answer.
NO_SCORE, CUT, TOO_LATE, PAUSED = "no score in the reply", "the reply was cut", "the step's deadline", "paused"
Exchange = Callable[[Any], list[Any]]
logger = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request otherwise


@dataclass
class Counts:
    """Of one step: answers to score, found in the cache, asked for (without duplicates), and failed, by reason."""

    answers: int = 0
    cached: int = 0
    asked: int = 0
    failed: int = 0
    reasons: Counter = field(default_factory=Counter)


def server() -> tuple[str, str | None]:
    """(address, key) from OPENAI_API_BASE and OPENAI_API_KEY. Raises SettingError without an address."""
    base = os.environ.get("OPENAI_API_BASE")
    if not base:
        raise SettingError("reward method llm: set OPENAI_API_BASE (and OPENAI_API_KEY where the server wants one)")
    return base, os.environ.get("OPENAI_API_KEY")


class Judge:
    """A judge by settings. Raises SettingError when its model or server is not set.

    `exchange`: a value of this rank's → those of all ranks, in their order; `rank`: this one's number. Each pair is
    then asked by one rank for all, so that equal answers of a group get one verdict.
    """

    def __init__(self, settings: JudgeArguments, rank: int = 0, ranks: int = 1, exchange: Exchange = lambda own: [own]):
        if not settings.judge_model:
            raise SettingError("reward method llm: --judge_model is missing (a model name that the server knows)")
        self.settings = settings
        self.limit = max(1, settings.judge_concurrency // ranks)
        self._chat = Chat(*server(), settings.judge_timeout, settings.judge_retries, self.limit)
        self.rank, self.ranks, self.exchange = rank, ranks, exchange
        self.text = instructions(settings.judge_prompt)
        folder = default_folder() if settings.judge_cache_dir is None else settings.judge_cache_dir
        self.verdicts = Verdicts(folder, settings.judge_model, version(self.text)) if folder else None
        self.breaker = CircuitBreaker(fail_max=FAILURES_IN_A_ROW, reset_timeout=PAUSE, exclude=[BadReply])
        self.counts = Counts()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="judge", daemon=True).start()
        return loop

    def scores(self, pairs: list[tuple[str, str]]) -> list[float | None]:
        """Score in [0, 1] of each (gold, answer), None where no verdict came in time. Never raises for the server.
        Every rank has to call it, with or without pairs.

        An empty answer is 0 and the gold answer itself 1 without asking; equal pairs are asked once, over all ranks.
        """
        known = {pair: float(pair[0] == pair[1]) for pair in pairs if not pair[1] or pair[0] == pair[1]}
        own = [pair for pair in dict.fromkeys(pairs) if pair not in known]
        every = dict.fromkeys(pair for part in self.exchange(own) for pair in part)
        wanted = list(every)[self.rank :: self.ranks]
        cached = self.verdicts.find(wanted) if self.verdicts and wanted else {}
        missing = [pair for pair in wanted if pair not in cached]
        asked, reasons = self._run(self._ask_all(missing)) if missing else ({}, Counter())
        if self.verdicts:
            self.verdicts.keep(asked)
        for part in self.exchange(cached | asked):
            known |= part
        result = [known.get(pair) for pair in pairs]
        self.counts.answers += len(pairs)
        self.counts.cached += len(cached)
        self.counts.asked += len(missing)
        self.counts.failed += result.count(None)
        self.counts.reasons += reasons
        if reasons:
            told = ", ".join(f"{name} {count}" for name, count in reasons.most_common())
            logger.warning("judge: no verdict on %d of %d answers (%s)", result.count(None), len(pairs), told)
        return result

    def take_counts(self) -> Counts:
        """Counts since the last call."""
        taken, self.counts = self.counts, Counts()
        return taken

    def _run(self, work: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _ask_all(self, pairs: list[tuple[str, str]]) -> tuple[dict[tuple[str, str], float], Counter]:
        slots = asyncio.Semaphore(self.limit)
        tasks = {asyncio.create_task(self._ask(pair, slots)): pair for pair in pairs}
        done, late = await asyncio.wait(tasks, timeout=self.settings.judge_deadline)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        reasons = Counter({TOO_LATE: len(late)} if late else {})
        scores = {}
        for task in done:
            error = task.exception()
            if error is None:
                scores[tasks[task]] = task.result()
            elif isinstance(error, NoAnswer):
                reasons[error.reason] += 1
            elif isinstance(error, BadReply):
                reasons[str(error)] += 1
            elif isinstance(error, CircuitBreakerError):
                reasons[PAUSED] += 1
            else:
                raise error
        return scores, reasons

    async def _ask(self, pair: tuple[str, str], slots: asyncio.Semaphore) -> float:
        options: dict[str, Any] = {"response_format": RESPONSE_FORMAT} if self.settings.judge_structured else {}
        options |= {"model": self.settings.judge_model, "messages": messages(self.text, *pair)}
        async with slots:
            with self.breaker.calling():
                reply = await self._chat.complete(temperature=0, max_tokens=REPLY_TOKENS, **options)
                try:
                    return parse_reply(split(reply.text).rest)  # a judge may reason before it scores
                except BadReply:
                    raise BadReply(CUT if reply.finish == "length" else NO_SCORE) from None
