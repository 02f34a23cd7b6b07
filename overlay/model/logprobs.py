"""Log-probabilities of tokens without the logits of them all.

A pass over 8,192 completion tokens holds 8,192 x 152,064 logits, and as many again in 32 bits for backward: 9.3 GiB.
Here the output layer is asked for CHUNK tokens at a time; backward asks again instead of keeping what it got. Fewer
tokens than that are asked for at once, and nothing is computed twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

CHUNK = 1024  # tokens
Logits = Callable[[torch.Tensor], torch.Tensor]


def by_chunks(logits_of: Logits, inputs: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities (B, C), in 32 bits, of `targets` (B, C) at a temperature; `logits_of` makes logits (N, V) of
    N of the `inputs` (B, C, H)."""

    def chunk(part: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        logits = logits_of(part).float() / temperature
        return logits.gather(1, ids[:, None])[:, 0] - logits.logsumexp(-1)

    parts, ids = inputs.flatten(0, 1).split(CHUNK), targets.flatten().split(CHUNK)
    if len(parts) > 1 and torch.is_grad_enabled():
        found = [checkpoint(chunk, *pair, use_reentrant=False) for pair in zip(parts, ids, strict=True)]
    else:
        found = [chunk(*pair) for pair in zip(parts, ids, strict=True)]
    return torch.cat(found).view_as(targets)


@contextmanager
def instead_of_logits(head: torch.nn.Module, targets: torch.Tensor, temperature: float) -> Iterator[None]:
    """Make an output layer give the log-probabilities (B, C, 1) of `targets` (B, C), the last C tokens, for hidden
    states (B, L, H) of which the last but one of each stands for the token after it.

    Inside its own call, so that ZeRO-3 has its weights together, and through its own forward, adapters included.
    """
    own, forward = head.__dict__.get("forward"), head.forward

    def log_probs(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        before = hidden[:, -targets.size(1) - 1 : -1]
        return by_chunks(lambda part: forward(part, *args, **kwargs), before, targets, temperature)[..., None]

    head.forward = log_probs
    try:
        yield
    finally:
        if own is None:
            del head.forward  # the class has it
        else:
            head.forward = own
