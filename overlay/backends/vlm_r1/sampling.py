"""Sampling by VLM-R1's trainer outside its own step: rows made into tensors, asked, and handed back to it.

Upstream has one method for all of that, which generates once for a batch. An episode asks step by step.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from open_r1.trainer import VLMGRPOTrainer  # pyright: ignore[reportMissingImports]  (the submodule may be absent)
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer

from overlay.backends.vlm_r1.repairs import enlarge
from overlay.training.backend import Answer
from overlay.training.ends import ended

Rows = list[dict[str, Any]]


def prepared(module: Any, processor: Any, rows: Rows) -> Any:
    """Prompts and images of rows, which are open, as upstream makes tensors of them."""
    enlarge(rows)
    inputs, _ = module.prepare_model_inputs(
        processor, module.prepare_prompt(processor, rows), [image for row in rows for image in row["image"]],
        return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False,
    )  # fmt: skip
    return inputs


def sampled(trainer: Any, rows: Rows, model: Any) -> list[Answer]:
    """An answer to each row, with its end token where it has one."""
    inputs = Trainer._prepare_inputs(trainer, prepared(trainer.vlm_module, trainer.processing_class, rows))
    left_out = trainer.vlm_module.get_non_generate_params()
    given = {name: value for name, value in inputs.items() if name not in left_out}
    unwrap = sys.modules[VLMGRPOTrainer.__module__].unwrap_model_for_generation
    with unwrap(model, trainer.accelerator) as inner:
        whole = inner.generate(**given, generation_config=trainer.generation_config)
    completions = whole[:, inputs["input_ids"].size(1) :]
    mask, _ = ended(completions, trainer.ends)
    ids = [row[kept.bool()].tolist() for row, kept in zip(completions, mask, strict=True)]
    if trainer.engine is None:
        return [Answer(each, None) for each in ids]
    return [Answer(each, row[: len(each)].tolist()) for each, row in zip(ids, trainer.engine.sampled, strict=True)]


@contextmanager
def generating(trainer: Any, answers: list[Answer]) -> Iterator[None]:
    """The trainer's model, out of its wrappers and its adapter's, answers with these."""
    inner = trainer.accelerator.unwrap_model(trainer.model)
    base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    pad_id = getattr(trainer.processing_class, "tokenizer", trainer.processing_class).pad_token_id
    tokens = pad_sequence([torch.tensor(each.ids) for each in answers], batch_first=True, padding_value=pad_id)
    if trainer.engine is not None:
        trainer.engine.keep([each.log_probs for each in answers])
    own = vars(base).get("generate")
    base.generate = lambda input_ids, **inputs: torch.cat([input_ids, tokens.to(input_ids.device)], 1)
    try:
        yield
    finally:
        if own is None:
            del base.generate
        else:
            base.generate = own
