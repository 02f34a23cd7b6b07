"""Answer rows with a local model, batched: prompts as in training, greedy or sampled."""

from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm

from overlay.data.dataset import batches
from overlay.data.examples import as_examples
from overlay.prompt.style import PromptStyle


@torch.inference_mode()
def complete(
    model: Any,
    processor: Any,
    rows: Dataset,
    style: PromptStyle,
    batch_size: int = 32,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    seed: int = 0,
    progress: str = "answers",
) -> list[str]:
    """Completion text of every row, in order; `temperature` 0 is greedy. The model stays on its device."""
    model.eval()
    torch.manual_seed(seed)
    sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    answers = []
    for part in tqdm(batches(as_examples(rows, style), batch_size), total=-(-len(rows) // batch_size), desc=progress):
        text = processor.apply_chat_template(part["prompt"], tokenize=False, add_generation_prompt=True)
        images = [image for row in part["images"] for image in row]
        inputs = processor(text=text, images=images or None, padding=True, padding_side="left", return_tensors="pt").to(
            model.device
        )
        output = model.generate(**inputs, **sampling, max_new_tokens=max_new_tokens)
        answers += processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers
