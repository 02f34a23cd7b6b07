"""Whether the sampler saw the prompts that are trained on: its log-probs against the trainer's own, at every step.

An engine beside the trainer (vLLM) computes the same log-probs up to rounding. A prompt with other tokens, other pixels
or other weights gives other ones, and then the importance ratios go to nothing and the run learns nothing, quietly.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

# Mean |difference| over the tokens of one prompt's completions, in nats. Measured on a tiny model: 1e-7 in float32 and
# 2e-3 in bfloat16 with the right prompt, 1.6 to 2.9 with a wrong one; large models in bfloat16 have some 1e-2.
LIMITS = {"float32": 0.01, "float16": 0.1, "bfloat16": 0.3}


class SamplerWatch:
    """`dtype`: what both compute in. `slack`: see `slack_of`. `gather`: (n, ...) on each rank → all."""

    def __init__(self, dtype: str, slack: float, gather: Callable[[torch.Tensor], torch.Tensor]):
        self.limit, self.dtype = LIMITS.get(dtype, max(LIMITS.values())) + slack, dtype
        self.gather = gather

    def look(
        self, step: int, own: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor, group: int
    ) -> tuple[dict[str, float], str | None]:
        """(metrics, why the run should end or None) of log-probs (B, C) with their mask (B, C), `group` completions of
        a prompt beside each other over all ranks; the same on every rank."""
        known = mask.bool() & sampled.isfinite()
        difference = torch.where(known, (own - sampled).abs(), 0.0).float()
        rows = torch.stack([difference.sum(1), known.sum(1).float(), difference.amax(1)], 1)
        every = self.gather(rows.detach())
        total, tokens = every[:, 0], every[:, 1]
        whole = group if len(every) % group == 0 else 1
        by_prompt = total.view(-1, whole).sum(1) / tokens.view(-1, whole).sum(1).clamp(min=1)
        worst = by_prompt.max().item()
        metrics = {
            "sampler/logp_difference": (total.sum() / tokens.sum().clamp(min=1)).item(),
            "sampler/logp_difference_max": every[:, 2].max().item(),
            "sampler/logp_difference_worst_prompt": worst,
        }
        if worst <= self.limit:
            return metrics, None
        return metrics, (
            f"sampler and trainer do not see the same prompt: in step {step} their log-probs differ by {worst:.3g} a "
            f"token on prompt {int(by_prompt.argmax())} (up to {self.limit} is rounding in {self.dtype}). Images, "
            "pixel limits, chat template or weights of the sampler are not the trainer's; nothing was trained on them"
        )


def slack_of(args: Any) -> float:
    """Nats a token that a run's sampler may differ by, since its log-probs are those of a part of the distribution: 1
    with top-k, top-p or min-p (the log of what they leave), any number with a penalty or a grammar."""
    grammar = getattr(args, "vllm_structured_outputs_regex", None) or getattr(args, "vllm_guided_decoding_regex", None)
    if grammar or getattr(args, "repetition_penalty", None) not in (None, 1.0):
        return math.inf
    whole = {"top_p": (None, 1.0), "top_k": (None, 0, -1), "min_p": (None, 0.0)}
    return 0.0 if all(getattr(args, name, None) in values for name, values in whole.items()) else 1.0
