"""Supervised warm start of the tiny model: it learns the format and half-guesses the action, no more.

The reasoning it imitates is written from the row itself: the app, the number of steps done, the planned step that is
due, and the action's type.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, ProcessorMixin, Trainer, TrainingArguments

from overlay.action.space import Space
from overlay.data.examples import as_examples
from overlay.demo import tiny_model
from overlay.prompt.style import PromptStyle

STYLE = PromptStyle(space=Space("original", 28 * 28, tiny_model.PIXELS))


def reasoned_answer(problem: str, solution: str) -> str:
    """The full completion for a gold action: think JSON made from the step's input, then the answer."""
    step, _ = json.JSONDecoder().raw_decode(problem, problem.rindex('{"task_content"'))
    done = len(step["history_path_all"])
    think = {
        "task_interpretation": step["app_name"],
        "current_page_audit": str(done),
        "path_alignment_check": step["task_path"][str(done + 1)],
        "action_validation": json.loads(solution)["action_type"],
    }
    return f"<think>{json.dumps(think, ensure_ascii=False)}</think><answer>{solution}</answer>"


class Collator:
    """Examples → a left-padded batch whose labels are the completion's tokens. `reasoned`: (problem, solution) → it."""

    def __init__(self, processor: Any, reasoned: Callable[[str, str], str] = reasoned_answer):
        self.processor, self.reasoned = processor, reasoned

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        prompts = [
            self.processor.apply_chat_template(e["prompt"], tokenize=False, add_generation_prompt=True)
            for e in examples
        ]
        answers = [self.reasoned(e["problem"], e["solution"]) + self.processor.tokenizer.eos_token for e in examples]
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


def warm_start(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Dataset,
    output_dir: Path,
    steps: int,
    learning_rate: float = 1e-3,
    batch: int = 16,
    seed: int = 0,
) -> PreTrainedModel:
    """Train `model` in place on `rows` (overlay.data.dataset) for `steps` supervised steps and return it."""
    config = TrainingArguments(
        output_dir=str(output_dir),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=20,
        logging_steps=20,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=seed,
        remove_unused_columns=False,
    )
    examples = as_examples(rows, STYLE)
    Trainer(model, config, data_collator=Collator(processor), train_dataset=examples).train()
    return model
