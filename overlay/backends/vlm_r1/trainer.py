"""What VLMGRPOTrainer lacks, as a subclass: log-probs of the completion only, each prompt processed once, no sampled
image tokens, ranks without images, evaluation, sampling settings, reference sync, a resume with the checkpoint's
weights."""

import inspect
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers.integrations import is_deepspeed_zero3_enabled
from trl.models import prepare_deepspeed
from trl.trainer.callbacks import SyncRefModelCallback

from overlay.backends.vlm_r1.losses import LossArguments, reduce_loss, rescaled
from overlay.backends.vlm_r1.once_per_prompt import OncePerPrompt, OpenImages
from overlay.model.processor import limit_pixels
from overlay.model.vision import keep_in_step
from overlay.training.checkpoints import WholeCheckpoints
from overlay.training.recorder import RewardLog
from overlay.training.reference import KeepReference
from overlay.training.refill import ALIKE, DynamicSampling, DynamicSamplingArguments
from overlay.training.rollout_file import RolloutArguments
from overlay.training.weights import ResumeWeights

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "cache_implementation")
IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(kw_only=True)
class VlmTrainerArguments(LossArguments, DynamicSamplingArguments, RolloutArguments):
    """What the subclass reads beside upstream's GRPOConfig."""


def extend(base: type, own: VlmTrainerArguments, held_out: Dataset | None = None) -> type:
    """Subclass of upstream's VLMGRPOTrainer with the settings of `own`, evaluated on `held_out` rows where given.

    Raises TypeError when a method that it replaces is gone.
    """
    for name in ("_get_per_token_logps", "_generate_and_score_completions", "compute_loss", "log"):
        if not callable(getattr(base, name, None)):
            raise TypeError(f"{base.__name__} has no {name} any more: overlay/backends/vlm_r1/trainer.py must follow")

    class GuiVLMGRPOTrainer(DynamicSampling, RewardLog, OpenImages, WholeCheckpoints, ResumeWeights, base):
        """VLMGRPOTrainer for GUI steps."""

        def __init__(self, *args: Any, **kwargs: Any):
            self._eval_metrics = defaultdict(list)
            rewards, weights = kwargs["reward_funcs"], kwargs["args"].reward_weights
            if weights and len(weights) != len(rewards):
                raise SystemExit(f"--reward_weights: {len(weights)} weights for {len(rewards)} --reward_funcs")
            if held_out is not None:
                kwargs["eval_dataset"] = held_out
            more = {"rollout_log_mb": own.rollout_log_mb, "dynamic_sampling": own.dynamic_sampling}
            super().__init__(*args, **more, **kwargs)
            if is_deepspeed_zero3_enabled():  # upstream leaves reward models cut up: no engine gathers their weights
                models = [model for model in self.reward_funcs if isinstance(model, torch.nn.Module)]
                self._engines = [prepare_deepspeed(model, self.accelerator) for model in models]
            for name in SAMPLING:  # declared by upstream's GRPOConfig, and never read
                setattr(self.generation_config, name, getattr(self.args, name))
            if self.args.sync_ref_model:
                if self.ref_model is None:
                    raise SystemExit("--sync_ref_model needs a reference model: --beta above 0, and no --use_peft")
                self.add_callback(SyncRefModelCallback(ref_model=self.ref_model, accelerator=self.accelerator))
                self.add_callback(KeepReference(self))
            config = self.accelerator.unwrap_model(self.model).config
            # A sampled image token would have no image: processor and model would then disagree on their number.
            tokens = {getattr(config, name, None) for name in IMAGE_TOKENS} - {None}
            self.generation_config.suppress_tokens = sorted(tokens) or None
            if "image_grid_thw" in self.vlm_module.get_custom_multimodal_keywords():
                self.vlm_module = OncePerPrompt(self.vlm_module)
                limit_pixels(self.processing_class, kwargs.get("min_pixels"), kwargs.get("max_pixels"))
            if self.accelerator.num_processes > 1:
                for model in filter(None, (self.model, self.ref_model)):
                    keep_in_step(self.accelerator.unwrap_model(model))

        def _adjust(self, result):
            """Advantages as --scale_rewards asks, and which completions were cut off: `truncated` (B,)."""
            rewards = self.group_rewards()
            self._record("frac_reward_zero_std", (rewards.std(1) < ALIKE).float().mean().item())
            advantages = rescaled(rewards, own.scale_rewards).flatten()
            first = self.accelerator.process_index * len(result["advantages"])
            result["advantages"] = advantages[first : first + len(result["advantages"])]
            ended = result["completion_ids"] == self.processing_class.eos_token_id
            result["truncated"] = ~ended.any(1)
            self._record("truncated", self.accelerator.gather(result["truncated"].float()).mean().item())

        def reduce_loss(self, losses, mask, inputs):
            """One loss of per-token `losses` (B, C); called by upstream's compute_loss."""
            if own.mask_truncated_completions:
                mask = mask * ~inputs["truncated"][:, None]
            return reduce_loss(losses, mask, own.loss_type, self.max_completion_length, self._mean_over_ranks)

        def _mean_over_ranks(self, value):
            return self.accelerator.reduce(value, "mean")

        def _contribution(self, index, scores):
            """Upstream adds its rewards up; weighted here, a missing one as 0 (as TRL does)."""
            weight = self.args.reward_weights[index] if self.args.reward_weights else 1.0
            if isinstance(scores, torch.Tensor):
                return weight * scores
            return [0.0 if score is None else weight * score for score in scores]

        def _record(self, name, value):
            self._metrics[name].append(value)

        def _log_records(self, records):
            """TRL's --log_completions, which upstream declares and does not read: a table on rank 0."""
            super()._log_records(records)
            if self.args.log_completions and self.state.global_step % max(1, int(self.args.logging_steps)) == 0:
                records = gather_object(records)
                if self.is_world_process_zero():
                    print_completions(records)

        def _log_component(self, name, values):
            """Beside the share, the spread and the raw mean: upstream logs the mean of what was weighted."""
            super()._log_component(name, values)
            self._record(f"rewards/{name}/std", values["std"])
            self._metrics[f"rewards/{name}"][-1] = values["mean"]

        def _get_per_token_logps(self, model, input_ids, attention_mask, **inputs):
            """Log-probabilities (B, L - 1) of each next token at the sampling temperature; exact for the completion, 0
            for the prompt.

            The caller reads the completion's part only. Keeping just its logits saves the vocabulary-sized matrix of
            a long prompt; gather - logsumexp saves the copy that log_softmax makes.
            """
            kept = self._completion_length
            if "logits_to_keep" in _forward_parameters(self.accelerator.unwrap_model(model)):
                logits = model(
                    input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept + 1, **inputs
                ).logits
            else:
                logits = model(input_ids=input_ids, attention_mask=attention_mask, **inputs).logits[:, -kept - 1 :]
            targets = input_ids[:, -kept:]
            rows = []
            for row, ids in zip(logits[:, :-1], targets, strict=True):  # one row at a time keeps the peak low
                row = row.float() / self.args.temperature
                rows.append(row.gather(1, ids[:, None])[:, 0] - row.logsumexp(-1))
            prompt = input_ids.size(1) - 1 - kept
            return torch.nn.functional.pad(torch.stack(rows), (prompt, 0))

        def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
            """Generate and score one batch; evaluation reports rewards, not a loss (its gradient is all that one is
            for)."""
            train_metrics, self._metrics = self._metrics, self._eval_metrics
            with torch.no_grad():
                self._generate_and_score_completions(inputs, model)
            self._metrics = train_metrics
            return None, None, None

        def log(self, logs, *args):
            """Upstream's; the rewards of an evaluation get its prefix and stay apart from training's."""
            prefix = "eval_"
            if not any(name.startswith(prefix) for name in logs):
                return super().log(logs, *args)
            # In place: Trainer looks for --metric_for_best_model in the same dict.
            logs.update({prefix + name: sum(values) / len(values) for name, values in self._eval_metrics.items()})
            train_metrics, self._metrics, self._eval_metrics = self._metrics, defaultdict(list), defaultdict(list)
            super().log(logs, *args)
            self._metrics = train_metrics

    return GuiVLMGRPOTrainer


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


def _forward_parameters(model: torch.nn.Module) -> set[str]:
    """Names of the forward arguments of a model, under an adapter if there is one."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(base.forward).parameters)
