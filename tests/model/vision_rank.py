"""One rank of a data-parallel pass in which the first rank's rows have images and the others' have none.

torchrun --nproc_per_node 2 -m tests.model.vision_rank FAMILY OUT       OUT/<rank>.pt: its gradients, by name
"""

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from overlay.model.vision import take_any_rows
from tests.families import IMAGE, batch, make
from tests.model.parity import NONE, ONE, TWO


def gradients(model, images: bool, wrapped=None):
    """{name: gradient} of a loss over two rows of text, with images in front or without."""
    rows = [(1, TWO, 5), (2, ONE, 3)] if images else [(1, NONE, 5), (2, NONE, 3)]
    inputs = batch(model, rows, 5)
    types = (inputs["input_ids"] == IMAGE).int()
    model.zero_grad(set_to_none=True)
    (wrapped or model)(**inputs, mm_token_type_ids=types).logits[:, -6:].square().mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def main() -> int:
    distributed.init_process_group("gloo")
    rank, family, out = distributed.get_rank(), *sys.argv[1:]
    model = make(family)
    take_any_rows(model, distributed.get_world_size())
    found = gradients(model, rank == 0, DistributedDataParallel(model))
    torch.save({name: gradient.clone() for name, gradient in found.items()}, Path(out, f"{rank}.pt"))
    distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
