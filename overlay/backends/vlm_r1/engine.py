"""Generation by vLLM in VLM-R1's trainer: upstream declares its settings and has no code for them.

Upstream's one call is `unwrapped_model.generate(...)`. `Engine` takes that name on the model, hands TRL's engine the
prompts and images that the trainer made its tensors of, and keeps the log-probs that the completions were sampled with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from overlay.backends.trl.workarounds import MARK, install_for_vllm
from overlay.training.vllm_agreement import without_image_tokens

UNKNOWN = float("nan")
MOST = 3.0  # of an importance ratio, as TRL's --vllm_importance_sampling_clip_max has it


class Engine:
    """vLLM in the trainer's process, or its server, with the trainer's sampling settings. `sampled`: log-probs (B, C)
    of the last batch's completions, NaN where there is padding."""

    def __init__(self, trainer: Any):
        from trl.generation.vllm_generation import VLLMGeneration

        install_for_vllm()
        args, self.trainer, processor = trainer.args, trainer, trainer.processing_class
        options = trainer.options
        self.vllm = VLLMGeneration(
            trainer.model, trainer.accelerator, processor, mode=options.vllm_mode,
            server_base_url=options.vllm_server_base_url, server_timeout=options.vllm_server_timeout,
            group_port=options.vllm_group_port,
            structured_outputs_regex=args.vllm_guided_decoding_regex,
            gpu_memory_utilization=args.vllm_gpu_memory_utilization, max_model_length=args.vllm_max_model_len,
            max_num_seqs=args.per_device_train_batch_size, temperature=args.temperature, top_p=args.top_p,
            top_k=args.top_k or 0, min_p=args.min_p or 0.0, repetition_penalty=args.repetition_penalty,
            max_completion_length=args.max_completion_length, generation_kwargs=without_image_tokens(processor, {}),
        )  # fmt: skip
        trainer.serve_from(self.vllm)
        self.pad = getattr(processor, "tokenizer", processor).pad_token_id
        self.sampled, self._step = torch.empty(0, 0), -1

    def install(self, model: Any, upstream: Any) -> None:
        """Be the `generate` of a model, out of its wrappers and its adapter's; `upstream`: its trainer's module."""
        model.generate = self.generate
        upstream.unwrap_model_for_generation = _not_gathered(upstream.unwrap_model_for_generation)

    def generate(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """(B, P + C): the prompts (B, P) with their completions, padded on the right. The engine gets new weights once
        after each step of the optimizer, and each prompt once with the number of its completions."""
        if self.trainer.state.global_step != self._step:
            self.vllm.sync_weights()
            self._step = self.trainer.state.global_step
        prompts = [ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
        images = self.trainer.vlm_module.shown
        if self.vllm.mode == "server":  # which takes the groups of all ranks apart itself
            first, count = list(range(len(prompts))), self.trainer.group_size
        else:
            keys = [(ids, [id(each) for each in row]) for ids, row in zip(prompts, images, strict=True)]
            first, count = _groups(keys)
            self.vllm.generation_kwargs["n"] = count
        shown = [images[n] or None for n in first]
        _, completions, logprobs, _ = self.vllm.generate(
            [prompts[n] for n in first], shown if any(shown) else None, count
        )
        self.keep([[top[0] for top in row] for row in logprobs])
        tokens = pad_sequence(
            [torch.tensor(list(ids)) for ids in completions], batch_first=True, padding_value=self.pad
        )
        return torch.cat([input_ids, tokens.to(input_ids.device)], 1)

    def keep(self, log_probs: list[list[float | None]]) -> None:
        """These are the log-probs of the batch's completions; None where the engine knows none."""
        values = [torch.tensor([UNKNOWN if each is None else each for each in row]) for row in log_probs]
        self.sampled = pad_sequence(values, batch_first=True, padding_value=UNKNOWN).to(self.trainer.args.device)

    def importance(self, own: torch.Tensor) -> torch.Tensor:
        """Truncated importance ratios (B, C) of the policy's own log-probs to those that were sampled with."""
        return (own - self.sampled).nan_to_num(0.0).exp().clamp(max=MOST)


def _not_gathered(theirs: Any) -> Any:
    """Symptom: under ZeRO-3 upstream gathers all weights for generation; an engine has its own, and handing over new
    ones then fails ("Nested GatheredParameters contexts cannot overlap"). Drop this when upstream generates with
    vLLM."""
    if hasattr(theirs, MARK):
        return theirs

    @contextmanager
    def unwrap(model: Any, accelerator: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        inner = accelerator.unwrap_model(model)
        base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
        if isinstance(getattr(base.generate, "__self__", None), Engine):
            yield inner
        else:
            with theirs(model, accelerator, *args, **kwargs) as gathered:
                yield gathered

    setattr(unwrap, MARK, True)
    return unwrap


def _groups(rows: list[Any]) -> tuple[list[int], int]:
    """(first row of each group of equal rows that stand together, their number); each row alone where it differs."""
    sizes = [len(list(group)) for _, group in groupby(rows)]
    count = sizes[0] if len(set(sizes)) == 1 else 1
    return list(range(0, len(rows), count)), count
