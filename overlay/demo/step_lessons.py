"""Lessons on full steps: the GUI prompt with its screens, and the answer with reasoning that is written from the row.

The reasoning says the app, the number of steps done, and what the action is about, last, so that the answer's place
follows its name.
"""

import json
import random
from typing import Any

import torch
from datasets import Dataset

from overlay.action.action import BOX_TYPES, parse_action
from overlay.data.examples import as_examples
from overlay.demo.lessons import ACROSS, DOWN, Inputs, inside, number_tokens
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import step_input


def looked_answer(problem: str, solution: str) -> str:
    """The full completion for a gold action: think JSON made from the step's input, then the answer."""
    step = step_input(problem)[1]
    done = len(step["history_path_all"])
    think = {
        "task_interpretation": step["app_name"],
        "current_page_audit": str(done),
        "path_alignment_check": str(done + 1),
        "action_validation": json.loads(solution)["action_description"],
    }
    return f"<think>{json.dumps(think, ensure_ascii=False)}</think><answer>{solution}</answer>"


class Collator:
    """Examples → a left-padded batch whose labels are the completion's tokens."""

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        prompts = [
            self.processor.apply_chat_template(e["prompt"], tokenize=False, add_generation_prompt=True)
            for e in examples
        ]
        answers = [looked_answer(e["problem"], e["solution"]) + self.processor.tokenizer.eos_token for e in examples]
        batch = self.processor(
            text=[prompt + answer for prompt, answer in zip(prompts, answers, strict=True)],
            images=[image for e in examples for image in e["images"]],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        labels = batch["input_ids"].clone()
        for row, answer in enumerate(answers):
            labels[row, : -len(self.processor.tokenizer(answer)["input_ids"])] = -100
        return {**batch, "labels": labels}


class StepLessons:
    """Batches of `size` rows (overlay.data.dataset), asked in `style`; see `ScreenLessons`."""

    def __init__(self, rows: Dataset, processor: Any, style: PromptStyle, size: int, seed: int):
        self.examples, self.collate = as_examples(rows, style), Collator(processor)
        self.size, self.rng, self.numbers = size, random.Random(seed), number_tokens(processor)
        self.image = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")

    def batch(self) -> tuple[Inputs, Inputs]:
        """(inputs with labels; of each state that points `row`, `end` and `cells`, those of the last screen)."""
        examples = [self.examples[self.rng.randrange(len(self.examples))] for _ in range(self.size)]
        inputs = self.collate(examples)
        most = int((inputs["input_ids"] == self.image).sum(1).max())
        rows, ends, cells = [], [], []
        for row, example in enumerate(examples):
            action = parse_action(example["solution"])
            if action is None or action.type not in BOX_TYPES or action.coordinates is None:
                continue
            target, first = torch.zeros(most), (len(example["images"]) - 1) * ACROSS * DOWN
            target[first : first + ACROSS * DOWN] = inside(action.coordinates)
            for place in self.coordinates(inputs["labels"][row].tolist()):
                rows.append(row)
                ends.append(place - 1)
                cells.append(target)
        return inputs, {"row": torch.tensor(rows), "end": torch.tensor(ends), "cells": torch.stack(cells)}

    def coordinates(self, labels: list[int]) -> list[int]:
        """Places of a box's four numbers: the last four that stand two apart, with a comma between them."""
        found = [place for place, token in enumerate(labels) if token in self.numbers]
        for last in range(len(found) - 1, 2, -1):
            four = found[last - 3 : last + 1]
            if [place - four[0] for place in four] == [0, 2, 4, 6]:
                return four
        return []
