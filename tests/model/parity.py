"""Log-probs of a batch as training computes them, against each row alone, for a family's tiny model."""

import torch

from overlay.model.packing import Rows, why_not
from overlay.model.shared_attention import install
from tests.families import IMAGE, batch, make

TWO, ONE, NONE = [(3, 2), (2, 2)], [(4, 1)], []
ROWS = [(1, TWO, 5), (1, TWO, 9), (2, NONE, 7), (2, NONE, 2), (3, ONE, 4)]  # prompt, images, completion tokens
WIDTH = 9


def ordinary(model, inputs, width):
    """(B, width) log-probs of the completions, 0 where there is padding."""
    types = (inputs["input_ids"] == IMAGE).int()
    logits = model(**inputs, mm_token_type_ids=types).logits[:, -width - 1 : -1]
    ids, mask = inputs["input_ids"][:, -width:], inputs["attention_mask"][:, -width:]
    return logits.log_softmax(-1).gather(2, ids[..., None])[..., 0] * mask


def images_of(packed):
    if packed.pixel_values is None:
        return {}
    return {"pixel_values": packed.pixel_values, "image_grid_thw": packed.image_grid_thw}


def packed_pass(model, inputs, width):
    """The same of packed rows."""
    packed = Rows(model, **inputs, kept=width).pack()
    logits = model(**packed.inputs, **images_of(packed)).logits[0, :-1]
    labels = packed.labels[0, 1:]
    chosen = logits[labels >= 0].log_softmax(-1).gather(1, labels[labels >= 0][:, None])[:, 0]
    return packed.spread(chosen, len(inputs["input_ids"]), width)


def alone(model, inputs, rows, width):
    """The same of each row in a pass of its own, without any padding."""
    found = torch.zeros(len(rows), width)
    for number, row in enumerate(rows):
        own, real = batch(model, [row], width), inputs["attention_mask"][number].bool()
        ids = inputs["input_ids"][number][real][None]
        images = {name: value for name, value in own.items() if name in ("pixel_values", "image_grid_thw")}
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **images}
        found[number, : row[2]] = ordinary(model, given, row[2])[0]
    return found


@torch.no_grad()
def apart(family):
    """(largest difference of a log-prob, whether rows were packed)"""
    install()
    model = make(family)
    inputs, packs = batch(model, ROWS, WIDTH), why_not(model) is None
    got = (packed_pass if packs else ordinary)(model, inputs, WIDTH)
    return (got - alone(model, inputs, ROWS, WIDTH)).abs().max().item(), packs
