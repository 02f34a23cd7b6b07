"""Attention over a packed row: each prompt once, its completions behind it, none of which sees another.

    [prompt of group 1][completion][completion] ... [prompt of group 2][completion] ...

A completion's part begins with a copy of the prompt's last token, so that every next token is predicted where it always
is. No mask of the row's square is made and no cell of it is computed in vain: prompts are plain causal attention, and a
completion's is that over the prompt and that over itself. On a CPU the two are computed apart and merged by their
log-sum-exp, which is exact forwards and backwards (the way of ring attention, arXiv 2310.01889); elsewhere the prompt's
keys stand before each completion's own, as causal attention that is aligned at the end.

`install` puts this before transformers' attention functions; without a `Layout` among its arguments each does what it
did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ARGUMENT = "shared_prompt"  # of a model's forward: its Layout
REPLACED = ("sdpa", "flash_attention_2", "flash_attention_3")
MARK = "_overlay_shared_prompt"


@dataclass(frozen=True)
class Group:
    """One prompt of a packed row. `start`: where it begins; `prompt`: its tokens without the last one; `parts`: tokens
    of each part behind it, the copy of the prompt's last token counted in."""

    start: int
    prompt: int
    parts: tuple[int, ...]

    @property
    def behind(self) -> int:
        """Where its completions begin."""
        return self.start + self.prompt

    @property
    def end(self) -> int:
        """Where the next group begins."""
        return self.behind + sum(self.parts)


Layout = tuple[Group, ...]


def shared_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: Layout, scale: float | None = None
) -> torch.Tensor:
    """Output (1, H, T, D) for query (1, H, T, D) and key and value (1, K, T, D) of a packed row; K divides H."""
    device = query.device.type
    behind: Any = _Merged.apply if device == "cpu" else _expanded
    scale = scale or query.size(3) ** -0.5
    if torch.is_autocast_enabled(device):  # as it does for torch's own attention: rotary positions leave float32
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    parts = []
    for group in layout:
        prompt, rest = slice(group.start, group.behind), slice(group.behind, group.end)
        q, k, v = query[:, :, prompt], key[:, :, prompt], value[:, :, prompt]
        if group.prompt:
            parts.append(scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True))
        parts.append(behind(query[:, :, rest], key[:, :, rest], value[:, :, rest], k, v, group.parts, scale))
    return torch.cat(parts, 2)


def _valid(parts: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(G, C) bool: which places of the padded parts hold a token."""
    lengths = torch.tensor(parts, device=device)
    return torch.arange(max(parts), device=device) < lengths[:, None]


def _padded(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(1, H, T, D) → (G, H, C, D), zeros where there is no token."""
    out = x.new_zeros(*valid.shape, x.size(1), x.size(3))
    out[valid] = x[0].transpose(0, 1)
    return out.transpose(1, 2)


def _packed(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(G, H, C, D) → (1, H, T, D)."""
    return x.transpose(1, 2)[valid].transpose(0, 1)[None]


def _expanded(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    prompt_k: torch.Tensor,
    prompt_v: torch.Tensor,
    parts: tuple[int, ...],
    scale: float,
) -> torch.Tensor:
    """Completions' attention with the prompt's keys before each one's own: any device, any dtype."""
    valid, repeat = _valid(parts, q.device), q.size(1) // k.size(1)

    def before(prompt: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        whole = torch.cat([prompt.expand(len(parts), -1, -1, -1), _padded(own, valid)], 2)
        return whole.repeat_interleave(repeat, 1)

    bias: Any = causal_lower_right(valid.size(1), prompt_k.size(2) + valid.size(1))
    keys, values = before(prompt_k, k), before(prompt_v, v)
    return _packed(scaled_dot_product_attention(_padded(q, valid), keys, values, bias, scale=scale), valid)


class _Merged(torch.autograd.Function):
    """Completions' attention on a CPU: nothing is copied, nothing is masked.

    softmax over [prompt, own part] from the attention over each: out = Σ out_i · exp(lse_i − lse). The backward of each
    takes the merged output and log-sum-exp, for its probabilities are exp(score − lse).
    """

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, prompt_k: Any, prompt_v: Any, parts: Any, scale: float) -> Any:
        valid = _valid(parts, q.device)
        out, lse = _forward(_padded(q, valid), _padded(k, valid), _padded(v, valid), True, scale)
        out, lse = _packed(out, valid), _packed(lse[..., None], valid)[..., 0]
        if prompt_k.size(2):
            out_prompt, lse_prompt = _forward(q, prompt_k, prompt_v, False, scale)
            both = torch.logaddexp(lse, lse_prompt)
            out = out * (lse - both).exp()[..., None] + out_prompt * (lse_prompt - both).exp()[..., None]
            out, lse = out.to(q.dtype), both
        ctx.save_for_backward(q, k, v, prompt_k, prompt_v, out, lse)
        ctx.parts, ctx.scale = parts, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        q, k, v, prompt_k, prompt_v, out, lse = ctx.saved_tensors
        valid = _valid(ctx.parts, q.device)
        grad, own_q, own_k, own_v, own_out = (_padded(each, valid) for each in (grads[0], q, k, v, out))
        own_lse = _padded(lse[..., None], valid)[..., 0]
        own = _backward(grad, own_q, own_k, own_v, own_out, own_lse, True, ctx.scale)
        grad_q, grad_k, grad_v = (_packed(each, valid) for each in own)
        if not prompt_k.size(2):
            return grad_q, grad_k, grad_v, torch.zeros_like(prompt_k), torch.zeros_like(prompt_v), None, None
        more, grad_prompt_k, grad_prompt_v = _backward(grads[0], q, prompt_k, prompt_v, out, lse, False, ctx.scale)
        return grad_q + more, grad_k, grad_v, grad_prompt_k, grad_prompt_v, None, None


def _forward(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)


def _backward(grad: Any, q: Any, k: Any, v: Any, out: Any, lse: Any, causal: bool, scale: float) -> Any:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad.contiguous(), q, k, v, out, lse, 0.0, causal, scale=scale
    )


def install() -> None:
    """Let transformers' attention functions take a `Layout`. Calling it twice is harmless."""
    for name in REPLACED:
        theirs = ALL_ATTENTION_FUNCTIONS.get(name)
        if theirs is not None and not hasattr(theirs, MARK):
            ALL_ATTENTION_FUNCTIONS.register(name, _with_layout(theirs))


def _with_layout(theirs: Callable) -> Callable:
    @wraps(theirs)
    def attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
        layout = kwargs.pop(ARGUMENT, None)
        if layout is None or not getattr(module, "is_causal", False):  # the vision tower is handed it too
            return theirs(module, query, key, value, attention_mask, **kwargs)
        return shared_attention(query, key, value, layout, kwargs.get("scaling")).transpose(1, 2).contiguous(), None

    setattr(attend, MARK, True)
    return attend
