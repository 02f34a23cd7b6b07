"""Lessons on single screens: several questions to each, with what its cells show and what an answer points at."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from overlay.demo.album import Album, Shown
from overlay.live.phone.screen import HEIGHT, WIDTH
from overlay.live.phone.tasks import SAYS
from overlay.live.phone.words import vocabulary

CELL = 28
ACROSS, DOWN = WIDTH // CELL, HEIGHT // CELL
QUESTIONS = 8  # to each screen, where it has as many things
LEAST = 0.3  # share of a cell that a word has to cover, or of the word that lies in it
IGNORED = -100

Inputs = dict[str, torch.Tensor]


def number_tokens(processor: Any) -> set[int]:
    """Ids of the tokens that are coordinates."""
    return set(processor.tokenizer.convert_tokens_to_ids([str(n) for n in range(max(WIDTH, HEIGHT) + 1)]))


def reads(shown: Shown, index: dict[str, int]) -> torch.Tensor:
    """(cells, words): what each cell shows, shares that add up to 1; zeros where there is nothing to read."""
    found = torch.zeros(DOWN, ACROSS, len(index))
    for word, (x1, y1, x2, y2) in shown.words:
        for row in range(DOWN):
            high = min(y2, (row + 1) * CELL) - max(y1, row * CELL)
            for column in range(ACROSS) if high > 0 else ():
                wide = min(x2, (column + 1) * CELL) - max(x1, column * CELL)
                if wide > 0 and high * wide >= LEAST * min(CELL * CELL, (x2 - x1) * (y2 - y1)):
                    found[row, column, index[word]] += high * wide
    found = found.flatten(0, 1)
    return found / found.sum(1, keepdim=True).clamp_min(1e-9)


def inside(box: Sequence[float]) -> torch.Tensor:
    """(cells): shares of a box that lies in each, which add up to 1."""
    x1, y1, x2, y2 = box
    left, top = torch.arange(ACROSS) * CELL, torch.arange(DOWN) * CELL
    wide = ((left + CELL).clamp(max=x2) - left.clamp(min=x1)).clamp(min=0)
    high = ((top + CELL).clamp(max=y2) - top.clamp(min=y1)).clamp(min=0)
    found = (high[:, None] * wide[None]).flatten().float()
    return found / found.sum()


def asked(shown: Shown, rng: random.Random) -> list[tuple[str, str, Sequence[float] | None]]:
    """Questions to a screen with their answers, and the box that a question asks for."""
    found = []
    for name, kind, box in rng.sample(shown.things, min(QUESTIONS, len(shown.things))):
        place = ",".join(map(str, box))
        gesture = "long_click" if "hold" in kind else "click"
        said = SAYS[shown.lang][gesture][1].format(name=name)
        action = f'"}}</think><answer>{{"action_type": "{gesture}", "action_parameter": {{"{gesture}": "{place}"'
        found.append((said, action + "\n", box) if rng.random() < 0.75 else (place + "\n", said + "\n", None))
    return found


class ScreenLessons:
    """Batches: `size` screens of an album with questions, as a model's inputs, and what their cells show."""

    def __init__(self, album: Album, processor: Any, size: int, seed: int):
        self.album, self.processor, self.size, self.rng = album, processor, size, random.Random(seed)
        token = processor.tokenizer.convert_tokens_to_ids
        self.words = vocabulary()
        self.index = {word: number for number, word in enumerate(self.words)}
        self.pad, self.image = processor.tokenizer.pad_token_id, token("<|image_pad|>")
        self.head = [token("<|vision_start|>"), *[self.image] * (ACROSS * DOWN), token("<|vision_end|>")]
        self.numbers = number_tokens(processor)
        self.known: dict[int, torch.Tensor] = {}

    def row(self, shown: Shown) -> tuple[list[int], list[int], list[tuple[int, torch.Tensor]]]:
        """(tokens, labels, (place, cells) of what points) of a screen; only answers have labels."""
        ids, labels, ends = list(self.head), [IGNORED] * len(self.head), []
        for question, answer, box in asked(shown, self.rng):
            for text, is_answer in ((question, False), (answer, True)):
                part = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
                if box is not None and is_answer:
                    points = [0, *(number for number, token in enumerate(part) if token in self.numbers)]
                    ends += [(len(ids) + number - 1, inside(box)) for number in points]
                ids += part
                labels += part if is_answer else [IGNORED] * len(part)
        return ids, labels, ends

    def batch(self) -> tuple[Inputs, Inputs]:
        """(inputs with labels; `shown` (cells of all screens, words), and of each state that points `row` (N), `end`
        (N) and `cells` (N, image tokens of a row))."""
        numbers = [self.rng.randrange(len(self.album)) for _ in range(self.size)]
        screens = [self.album[number] for number in numbers]
        for number, shown in zip(numbers, screens, strict=True):
            if number not in self.known:
                self.known[number] = reads(shown, self.index).half()
        rows = [self.row(shown) for shown in screens]
        longest = max(len(ids) for ids, *_ in rows)
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row, *_ in rows])
        labels = torch.tensor([row + [IGNORED] * (longest - len(row)) for _, row, _ in rows])
        images = self.processor.image_processor([s.pixels for s in screens], do_resize=False, return_tensors="pt")
        inputs = {
            "input_ids": ids, "labels": labels, "attention_mask": (ids != self.pad).int(),
            "mm_token_type_ids": (ids == self.image).int(), **images,
        }  # fmt: skip
        ends = [(screen, *end) for screen, (_, _, found) in enumerate(rows) for end in found]
        return inputs, {
            "shown": torch.cat([self.known[number] for number in numbers]).float(),
            "row": torch.tensor([screen for screen, _, _ in ends]), "end": torch.tensor([end for _, end, _ in ends]),
            "cells": torch.stack([cells for _, _, cells in ends]),
        }  # fmt: skip
