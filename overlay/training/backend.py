"""What a backend says for itself, to the mixin that both share (`overlay.training.trainer`)."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from overlay.training.run import Run


@dataclass(frozen=True)
class Answer:
    """A completion as `ids`, and the `log_probs` that an engine sampled them with; None where the model itself did."""

    ids: list[int]
    log_probs: list[float | None] | None


class Backend(Run):
    """Mixin. `image_key`: where rows carry their images."""

    image_key = "image"

    def record(self, name: str, value: float) -> None:
        """Put a metric into the trainer's next log entry."""
        raise NotImplementedError

    def adjust(self, result: dict[str, Any], rewards: torch.Tensor) -> None:
        """Change a batch's result, now that its rewards are known: (groups, completions) of all ranks, NaN for none."""

    def sampled(self, result: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Log-probs (B, C) of a batch's completions: the trainer's own and those of an engine that sampled them; None
        when the model itself did."""
        return None

    def reuses_batch(self) -> bool:
        """Whether the next micro-step trains on completions that are there already."""
        raise NotImplementedError

    def following_batch(self) -> int:
        """Micro-steps before the next one that generates, in a micro-step that does."""
        raise NotImplementedError

    def answers(self, rows: list[dict[str, Any]], *model: Any) -> list[Answer]:
        """An answer to each row, whose images are open, sampled as for a batch of the trainer's."""
        raise NotImplementedError

    def instead_of_sampling(self, answers: list[Answer]) -> AbstractContextManager[None]:
        """The base's next batch has these for its completions."""
        raise NotImplementedError

    def leave_out(self, result: dict[str, Any], reached: torch.Tensor) -> None:
        """Keep the completions of a batch that are not `reached` (B,) out of its loss."""
        raise NotImplementedError

    def prompts_of(self, rows: list[dict[str, Any]], processor: Any) -> tuple[list[list[int]], list[Any]]:
        """(ids, images) of rows' prompts, as the trainer makes them; in a thread, by a processor for it alone."""
        raise NotImplementedError
