"""Teach a small Qwen-VL to see: screens with questions, and full steps, with more losses than the answers' own.

    torchrun --nproc_per_node 2 -m overlay.demo.see --album DIR --model DIR --steps N      (make demo-model runs it)

- *answers*: the name of a thing → the action on it, in the words of a full step's answer; a box → its name; full steps.
- *reading*: the features that the tower hands on for a cell point where the embedding of the word in that cell points.
- *place*: after `PLACED_AFTER` layers, two heads tell the cell's column and row from the image token's state.
- *pointing*: after `POINTED_AFTER` layers, the states at a question's end and before each coordinate of its answer
  point at the cells of what it asks for.

Without the last three, loss stays on a plateau for thousands of steps: docs/demo.md has the figures. The heads are
thrown away. Weights are trained with Muon, vectors and embeddings with AdamW, both from torch.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForImageTextToText

from overlay.data.dataset import load_dataset
from overlay.demo.album import Album
from overlay.demo.lessons import ACROSS, DOWN, Inputs, ScreenLessons
from overlay.demo.step_lessons import StepLessons
from overlay.live.phone.words import vocabulary
from overlay.model.processor import load_processor
from overlay.prompt.style_file import read_style

SHARPNESS = 12.0  # of the reading loss: cosines times this are its logits
PLACED_AFTER, POINTED_AFTER = 2, 3
WEIGHTS = {"answers": 1.0, "reading": 1.0, "place": 0.3, "pointing": 1.0}  # of the losses
TOLD_EVERY = 25
STEPS_TO_SCREENS = 3  # batches of full steps for each of screens


class Lessons(Protocol):
    """Where batches come from; see `ScreenLessons.batch`. Steps have no `shown`."""

    def batch(self) -> tuple[Inputs, Inputs]:
        """Inputs with labels, and what the other losses are about."""
        ...


class Seeing(torch.nn.Module):
    """A model with what its lessons need. `words`: token ids of the vocabulary."""

    def __init__(self, model: Any, words: list[int]):
        super().__init__()
        self.model, self.words = model, words
        width = model.config.get_text_config().hidden_size
        self.column, self.row = torch.nn.Linear(width, ACROSS), torch.nn.Linear(width, DOWN)
        self.asks, self.answers = (torch.nn.Linear(width, width, bias=False) for _ in range(2))

    def forward(self, inputs: Inputs, truth: Inputs) -> dict[str, torch.Tensor]:
        """The losses of a batch of lessons."""
        out = self.model(**inputs, output_hidden_states=True)
        image = inputs["mm_token_type_ids"].bool()
        placed, pointed = (_normed(out.hidden_states[layer]) for layer in (PLACED_AFTER, POINTED_AFTER))
        places = torch.arange(ACROSS * DOWN).repeat(int(image.sum()) // (ACROSS * DOWN))
        column = F.cross_entropy(self.column(placed[image]), places % ACROSS)
        row = F.cross_entropy(self.row(placed[image]), places // ACROSS)
        losses = {"answers": out.loss, "place": column + row, "pointing": self._pointing(pointed, image, truth)}
        if "shown" in truth:
            losses["reading"] = self._reading(out.hidden_states[0][image], truth["shown"])
        return losses

    def _reading(self, features: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        words = self.model.get_input_embeddings().weight[self.words]
        logits = SHARPNESS * F.normalize(features, dim=1) @ F.normalize(words, dim=1).T
        something = shown.sum(1) > 0
        return F.cross_entropy(logits[something], shown[something])

    def _pointing(self, states: torch.Tensor, image: torch.Tensor, truth: Inputs) -> torch.Tensor:
        """Over the image tokens of the row, padded to the longest."""
        there = torch.arange(truth["cells"].shape[1]) < image.sum(1, keepdim=True)
        cells = states.new_zeros(*there.shape, states.shape[-1])
        cells[there] = self.answers(states[image])
        ends = self.asks(states[truth["row"], truth["end"]])
        logits = (cells[truth["row"]] @ ends[:, :, None])[:, :, 0] / ends.shape[1] ** 0.5
        return F.cross_entropy(logits.masked_fill(~there[truth["row"]], -1e9), truth["cells"])


def _normed(states: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(states, states.shape[-1:])


def optimizers(model: torch.nn.Module, embeddings: torch.Tensor, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for matrices, AdamW for the rest."""
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embeddings]
    rest = [p for p in model.parameters() if p.ndim != 2 or p is embeddings]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def rate_at(step: int, steps: int) -> float:
    """Share of the learning rate: a short rise, then a cosine down to a twentieth."""
    return min(1.0, (step + 1) / 30) * max(0.05, 0.5 * (1 + math.cos(math.pi * step / steps)))


def teach(model: Any, processor: Any, lessons: Sequence[Lessons], steps: int, rate: float) -> None:
    """Train `model` in place on `steps` batches, from each of `lessons` in turn; under torchrun on all ranks'."""
    seeing = Seeing(model, processor.tokenizer.convert_tokens_to_ids(vocabulary()))
    trained: torch.nn.Module = seeing
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        trained = DistributedDataParallel(seeing)
    chosen, started = optimizers(seeing, model.get_input_embeddings().weight, rate), time.monotonic()
    for step in range(steps):
        losses = trained(*lessons[step % len(lessons)].batch())
        for each in chosen:
            each.zero_grad()
            for group in each.param_groups:
                group["lr"] = rate * rate_at(step, steps)
        torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(seeing.parameters(), 1.0)
        for each in chosen:
            each.step()
        if rank() == 0 and (step + 1) % TOLD_EVERY == 0:
            told = ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            seconds = time.monotonic() - started
            print(f"see: step {step + 1} of {steps}, {seconds:.0f} s: {told}", file=sys.stderr, flush=True)


def rank() -> int:
    """This process's among torchrun's."""
    return int(os.environ.get("RANK", 0))


def main() -> None:
    """Train the model in --model in place."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--album", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", help="data file of full steps, which most batches have then; --images beside it")
    parser.add_argument("--images")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=20, help="screens, or rows, of all ranks")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model, processor = AutoModelForImageTextToText.from_pretrained(args.model), load_processor(str(args.model))
    size, seed = args.batch // int(os.environ.get("WORLD_SIZE", 1)), 1000 * args.seed + rank()
    lessons: list[Lessons] = [ScreenLessons(Album(args.album), processor, size, seed)]
    if args.rows:
        style = read_style(args.model)
        assert style is not None
        lessons += [StepLessons(load_dataset(args.rows, args.images), processor, style, size, seed)] * STEPS_TO_SCREENS
    teach(model, processor, lessons, args.steps, args.rate)
    if rank() == 0:
        model.save_pretrained(args.model)


if __name__ == "__main__":
    main()
