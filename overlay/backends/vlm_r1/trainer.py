"""VLM-R1's trainer for GUI steps: the mixin, the repairs, and what VLMGRPOTrainer lacks beside them: log-probs of the
completion only, no sampled image tokens, evaluation, sampling settings, reference sync,
loss types.

Imported by the hook of the patched script, for it needs VLM-R1's package (`open_r1`).
"""

import sys
from collections import defaultdict
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from open_r1.trainer import VLMGRPOTrainer  # pyright: ignore[reportMissingImports]  (the submodule may be absent)
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch.nn.functional import pad
from transformers.integrations import is_deepspeed_zero3_enabled
from trl.models import prepare_deepspeed
from trl.trainer.callbacks import SyncRefModelCallback

from overlay.backends.vlm_r1.losses import reduce_loss
from overlay.backends.vlm_r1.module import PROMPT_LENGTH
from overlay.backends.vlm_r1.repairs import Repaired, over_completion
from overlay.backends.vlm_r1.sampling import generating, prepared, sampled
from overlay.errors import SettingError
from overlay.model.processor import leave_thinking, limit_pixels
from overlay.settings import VlmTrainerOptions
from overlay.training.advantages import advantages, spread
from overlay.training.backend import Answer
from overlay.training.ends import end_tokens, ended
from overlay.training.refill import is_dull
from overlay.training.scores import Scores
from overlay.training.trainer import GuiTrainer

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "cache_implementation")
IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
REPLACED = ("_get_per_token_logps", "_generate_and_score_completions", "_get_train_sampler", "compute_loss", "log")


def must_have(base: type, names: tuple[str, ...]) -> type:
    """The class; TypeError when a method that is replaced here is gone from it."""
    for name in names:
        if not callable(getattr(base, name, None)):
            raise TypeError(f"{base.__name__} has no {name} any more: overlay/backends/vlm_r1/trainer.py must follow")
    return base


class Weighted:
    """What upstream gets for raw scores: it adds its rewards up, so they are weighted here, a missing one as 0 (as TRL
    does)."""

    def __init__(self, weights: list[float] | None):
        self.weights = weights

    def __call__(self, index: int, scores: Any) -> Any:
        weight = self.weights[index] if self.weights else 1.0
        if isinstance(scores, torch.Tensor):
            return weight * scores
        return [0.0 if score is None else weight * score for score in scores]


class GuiVLMGRPOTrainer(GuiTrainer, Repaired, must_have(VLMGRPOTrainer, REPLACED)):
    """VLMGRPOTrainer for GUI steps."""

    options: VlmTrainerOptions

    def __init__(self, *, args: Any, reward_funcs: list[Any], **kwargs: Any):
        self._eval_metrics = defaultdict(list)
        weights = args.reward_weights
        if weights and len(weights) != len(reward_funcs):
            raise SettingError(f"--reward_weights: {len(weights)} weights for {len(reward_funcs)} --reward_funcs")
        own = {"options": VlmTrainerOptions(rollout_log_mb=0), "hand_over": Weighted(weights)}
        super().__init__(args=args, reward_funcs=reward_funcs, **own | kwargs)
        if is_deepspeed_zero3_enabled():  # upstream leaves reward models cut up: no engine gathers their weights
            models = [model for model in self.reward_funcs if isinstance(model, torch.nn.Module)]
            self._engines = [prepare_deepspeed(model, self.accelerator) for model in models]
        for name in SAMPLING:  # declared by upstream's GRPOConfig, and never read
            setattr(self.generation_config, name, getattr(self.args, name))
        if self.args.sync_ref_model:
            self.add_callback(SyncRefModelCallback(ref_model=self.ref_model, accelerator=self.accelerator))
        inner = self.accelerator.unwrap_model(self.model)
        tokenizer = getattr(self.processing_class, "tokenizer", self.processing_class)  # InternVL's is a bare tokenizer
        self.ends, config = end_tokens((inner.generation_config, self.generation_config), tokenizer), inner.config
        # A sampled image token would have no image: processor and model would then disagree on their number.
        tokens = {getattr(config, name) for name in IMAGE_TOKENS if getattr(config, name, None) is not None}
        self.generation_config.suppress_tokens = sorted(tokens) or None
        self.scores = Scores(self, self.args.temperature)
        self.engine = None
        if self.args.use_vllm:
            from overlay.backends.vlm_r1.engine import Engine

            self.engine = Engine(self)
            self.vllm_generation = self.engine.vllm
            base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
            self.engine.install(base, sys.modules[VLMGRPOTrainer.__module__])
        leave_thinking(self.processing_class)
        if self.vlm_module.has_grids:
            limit_pixels(self.processing_class, kwargs.get("min_pixels"), kwargs.get("max_pixels"))

    def adjust(self, result: dict[str, Any], rewards: torch.Tensor) -> None:
        """Advantages as --scale_rewards asks; masks that end at any end token, and which completions were cut off:
        `truncated` (B,). Upstream knows the tokenizer's end token only."""
        self.record("frac_reward_zero_std", is_dull(rewards).float().mean().item())
        if self.recorder.reached is not None:  # upstream's counts steps that were not reached as 0
            self._metrics["reward"][-1] = rewards.nanmean().item()
            self._metrics["reward_std"][-1] = spread(rewards)[~rewards.isnan().all(1)].mean().item()
        result["advantages"] = self.own_part(advantages(rewards, self.options.scale_rewards).flatten())
        result["completion_mask"], result["truncated"] = ended(result["completion_ids"], self.ends)
        lengths = self._gathered(result["completion_mask"].sum(1)).float()
        self._metrics["completion_length"][-1] = lengths.mean().item()
        self.record("truncated", self._gathered(result["truncated"].float()).mean().item())

    def sampled(self, result: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Also puts the importance ratios of an engine's completions into the batch, for `reduce_loss`."""
        if self.engine is None:
            return None
        own, split = result["old_per_token_logps"], result["prompt_ids"].size(1)
        if own is None:
            ids, mask = (
                torch.cat([result[f"prompt_{name}"], result[f"completion_{name}"]], 1) for name in ("ids", "mask")
            )
            with torch.no_grad():
                own = self._get_per_token_logps(self.model_wrapped, ids, mask, **result["multimodal_inputs"])
            own = own[:, split - 1 :]
        result["importance"] = self.engine.importance(own)
        known = self._gathered(result["importance"].mean(1))
        self.record("sampling/importance_sampling_ratio/mean", known.mean().item())
        return own, self.engine.sampled

    def reduce_loss(self, losses: torch.Tensor, mask: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """One loss of per-token `losses` (B, C); called by upstream's compute_loss."""
        if self.options.mask_truncated_completions:
            mask = mask * ~inputs["truncated"][:, None]
        if "reached" in inputs:
            mask = mask * inputs["reached"][:, None]
        if "importance" in inputs:  # a KL term is in `losses` already, so it is weighted too
            losses = losses * inputs["importance"]
        return reduce_loss(losses, mask, self.options.loss_type, self.max_completion_length, self._mean_over_ranks)

    def _mean_over_ranks(self, value: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(value, "mean")

    def record(self, name: str, value: float) -> None:
        self._metrics[name].append(value)

    def reuses_batch(self) -> bool:
        return self.state.global_step % self.num_iterations != 0

    def following_batch(self) -> int:
        """Each micro-step of a step generates, and none of the `num_iterations` - 1 steps after it."""
        batches, following = self.args.gradient_accumulation_steps, self._step + 1
        used = batches * self.num_iterations
        return following if following % used < batches else (following // used + 1) * used

    def prompts_of(self, rows: list[dict[str, Any]], processor: Any) -> tuple[list[list[int]], list[Any]]:
        module = type(self.vlm_module)(self.vlm_module.module)  # with `shown` of its own
        inputs = prepared(module, processor, rows)
        pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        return [ids[mask.bool()].tolist() for ids, mask in pairs], [each or None for each in module.shown]

    def answers(self, rows: list[dict[str, Any]], *model: Any) -> list[Answer]:
        return sampled(self, rows, *model)

    def instead_of_sampling(self, answers: list[Answer]) -> AbstractContextManager[None]:
        return generating(self, answers)

    def leave_out(self, result: dict[str, Any], reached: torch.Tensor) -> None:
        result["reached"] = reached

    def keep_records(self, records: list[dict[str, Any]]) -> None:
        """TRL's --log_completions, which upstream declares and does not read: a table on rank 0."""
        super().keep_records(records)
        if self.args.log_completions and self.state.global_step % max(1, int(self.args.logging_steps)) == 0:
            records = gather_object(records)
            if self.is_world_process_zero():
                print_completions(records)

    def record_component(self, name: str, values: dict[str, float]) -> None:
        """Beside the share, the spread and the raw mean: upstream logs the mean of what was weighted."""
        super().record_component(name, values)
        self.record(f"rewards/{name}/std", values["std"])
        self._metrics[f"rewards/{name}"][-1] = values["mean"]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        """The mixin's; the loss reads from it where completions begin, which refilled prompts may have moved. Upstream
        asks each time that it computes a loss: for a part after the first the batch is there."""
        if self.parts.repeating:
            return self._buffered_inputs[self._step % self.args.gradient_accumulation_steps]
        result = super()._generate_and_score_completions(inputs, *model)
        result["multimodal_inputs"][PROMPT_LENGTH] = result["prompt_ids"].size(1)
        return result

    def _get_per_token_logps(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        prompt_length: int,
        **inputs: Any,
    ) -> torch.Tensor:
        """Log-probabilities (B, L - 1) of each next token at the sampling temperature; exact for the completion, 0
        for the prompt.

        The caller reads the completion's part only, so only its logits are made, and not all of them at once.
        """
        kept, inputs = input_ids.size(1) - prompt_length, over_completion(inputs, input_ids.size(1))
        return pad(self.scores(model, input_ids, attention_mask, kept, inputs), (prompt_length - 1, 0))

    def prediction_step(
        self, model: torch.nn.Module, inputs: list[dict[str, Any]], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, None, None]:
        """Generate and score one batch; evaluation reports rewards, not a loss (its gradient is all that one is
        for)."""
        train_metrics, self._metrics = self._metrics, self._eval_metrics
        with torch.no_grad():
            self._generate_and_score_completions(inputs, model)
        self._metrics = train_metrics
        return None, None, None

    def log(self, logs: dict[str, float], *args: Any) -> None:
        """Upstream's; the rewards of an evaluation get its prefix and stay apart from training's."""
        prefix = "eval_"
        if not any(name.startswith(prefix) for name in logs):
            super().log(logs, *args)
            return
        means = {name: sum(values) / len(values) for name, values in self._eval_metrics.items()}
        # In place: Trainer looks for --metric_for_best_model in the same dict.
        logs.update({prefix + name: value for name, value in (means | self.rates.take()).items()})
        train_metrics, self._metrics, self._eval_metrics = self._metrics, defaultdict(list), defaultdict(list)
        super().log(logs, *args)
        self._metrics = train_metrics


def print_completions(records: list[dict[str, Any]]) -> None:
    """Completions of one step as a table: row, completion, each reward, advantage."""
    names = list(records[0]["rewards"])
    table = Table(title=f"step {records[0]['step']}", show_lines=True)
    for column in ("row", "completion", *names, "advantage"):
        table.add_column(column, overflow="fold")
    for record in records:
        scores = [record["rewards"][name] for name in names]
        figures = ["none" if score is None else f"{score:.2f}" for score in [*scores, record["advantage"]]]
        table.add_row(Path(record["source"]).name, Text(record["completion"]), *figures)
    Console(width=160).print(table)
