"""Attention over a packed row against masked attention over the same row."""

import pytest
import torch

from overlay.model import shared_attention as shared
from overlay.model.shared_attention import Group

LAYOUTS = {
    "one group": (Group(0, 37, (5, 1, 9)),),
    "one completion": (Group(0, 11, (4,)),),
    "no prompt but its last token": (Group(0, 0, (3, 2)),),
    "several groups": (Group(0, 20, (5, 8)), Group(33, 3, (1, 1, 1)), Group(39, 64, (30,))),
}


def dense(layout):
    """(T, T) bool: what each token of a packed row sees."""
    total = layout[-1].end
    sees = torch.zeros(total, total, dtype=torch.bool)
    for group in layout:
        prompt = slice(group.start, group.behind)
        sees[prompt, prompt] = True
        first = group.behind
        for length in group.parts:
            sees[first : first + length, prompt] = True
            sees[first : first + length, first : first + length] = True
            first += length
    return sees.tril()


@pytest.mark.parametrize("way", ["merged", "expanded"])
@pytest.mark.parametrize(("heads", "keys"), [(4, 4), (6, 2)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_values_and_gradients_are_those_of_masked_attention(name, heads, keys, way, monkeypatch):
    layout = LAYOUTS[name]
    if way == "expanded":  # what a GPU takes
        monkeypatch.setattr(shared._Merged, "apply", shared._expanded)
    torch.manual_seed(0)
    total = layout[-1].end
    inputs = [torch.randn(1, h, total, 16, dtype=torch.float64, requires_grad=True) for h in (heads, keys, keys)]
    weight = torch.randn(1, heads, total, 16, dtype=torch.float64)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *inputs, attn_mask=dense(layout), enable_gqa=True, scale=0.3
    )
    gradients = torch.autograd.grad((expected * weight).sum(), inputs)
    got = shared.shared_attention(*inputs, layout, 0.3)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad((got * weight).sum(), inputs), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_bfloat16_is_as_near_as_masked_attention_is():
    layout = LAYOUTS["several groups"]
    torch.manual_seed(0)
    inputs = [torch.randn(1, 4, layout[-1].end, 32) for _ in range(3)]
    exact = shared.shared_attention(*inputs, layout)
    half = [each.bfloat16() for each in inputs]
    masked = torch.nn.functional.scaled_dot_product_attention(*half, attn_mask=dense(layout))
    got = shared.shared_attention(*half, layout)
    assert got.dtype is torch.bfloat16
    assert (got.float() - exact).abs().max() < 2 * (masked.float() - exact).abs().max()
