"""TRL's GRPOTrainer for GUI steps: the mixin, and a frozen vision tower."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from overlay.backends.trl.workarounds import install, install_for_episodes, install_for_vllm
from overlay.errors import SettingError
from overlay.model.packing import IGNORED
from overlay.model.vision import VISION, freeze_vision
from overlay.training.advantages import advantages
from overlay.training.backend import Answer
from overlay.training.trainer import GuiTrainer


class GuiGRPOTrainer(GuiTrainer, GRPOTrainer):
    """Trains on rows of `overlay.data.examples.as_rows`. `freeze_vision_modules`: keep the vision tower as it is."""

    image_key = "images"

    def __init__(self, *, freeze_vision_modules: bool = False, **kwargs: Any):
        install(kwargs.get("processing_class"), kwargs["args"].num_generations)
        if kwargs.get("world"):
            install_for_episodes()
        self._answers: list[Answer] | None = None
        if kwargs["args"].use_vllm:
            install_for_vllm()
        super().__init__(**kwargs)
        if self.use_vllm:
            self.serve_from(self.vllm_generation)
        if freeze_vision_modules and not freeze_vision(self.model):
            raise SettingError(f"--freeze_vision_modules: the model has no module named {VISION!r}")

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **inputs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """TRL's, over packed rows: log-probs (B, C) and entropies (B, C) or None, 0 where there is padding; the load
        balancing loss of experts counts tokens, so it is TRL's own."""
        if compute_aux_loss or not self.shared.takes(inputs):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss,
                **inputs,
            )  # fmt: skip
        rows = self.shared.rows(input_ids, attention_mask, logits_to_keep, inputs)
        shape, size = (len(input_ids), logits_to_keep), batch_size or len(input_ids)
        log_probs, entropies = [], []
        for part in self.parts.of(model, rows, size):
            packed = rows.pack(part)
            with self.shared.images(model, packed) as images, self.accelerator.autocast():
                output = model(**packed.inputs, **images, labels=packed.labels, fused_lm_head=True)
            scored = packed.labels[:, 1:] != IGNORED
            log_probs.append(packed.spread(output.log_probs[scored], *shape))
            if compute_entropy:
                entropies.append(packed.spread(output.entropy[scored], *shape))
        entropy = self.parts.whole("entropies", sum(entropies[1:], entropies[0])) if entropies else None
        return self.parts.whole("log_probs", sum(log_probs[1:], log_probs[0])), entropy, None

    def adjust(self, result: dict[str, Any], rewards: torch.Tensor) -> None:
        """TRL counts a missing score as 0; a completion without a verdict has no advantage, and its group is taken
        without it. The other groups stay as they are, but where all share one deviation."""
        torn = rewards.isnan().any(1)
        if torn.any():
            mended = advantages(rewards, self.scale_rewards)
            if self.scale_rewards == "batch":
                torn = torch.ones_like(torn)
            own = self.own_part(torn.repeat_interleave(rewards.size(1)))
            result["advantages"] = torch.where(own, self.own_part(mended.flatten()), result["advantages"])

    def sampled(self, result: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor] | None:
        return (result["old_per_token_logps"], result["sampling_per_token_logps"]) if self.use_vllm else None

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's; the rates of an evaluation are those of all its rows."""
        if any(name.startswith("eval_") for name in logs):
            # In place: Trainer looks for --metric_for_best_model in the same dict.
            logs.update({f"eval_{name}": value for name, value in self.rates.take().items()})
        super().log(logs, *args, **kwargs)

    def reuses_batch(self) -> bool:
        return self._step % (self.args.steps_per_generation * self.num_iterations) != 0

    def following_batch(self) -> int:
        return self._step + self.args.steps_per_generation * self.num_iterations

    def prompts_of(self, rows: list[dict[str, Any]], processor: Any) -> tuple[list[list[int]], list[Any]]:
        own = copy(self)
        own.processing_class = processor
        ids, images, _ = own._tokenize_prompts(self._shown(rows))
        return ids, images or [None] * len(ids)

    def _shown(self, rows: list[dict[str, Any]]) -> list[Any]:
        """Rows' messages with their images, as TRL makes them."""
        shown = any(row[self.image_key] for row in rows)
        return [
            prepare_multimodal_messages(row["prompt"], images=row[self.image_key]) if shown else row["prompt"]
            for row in rows
        ]

    def answers(self, rows: list[dict[str, Any]], *model: Any) -> list[Answer]:
        prompts, images, fields = self._tokenize_prompts(self._shown(rows))
        ids, log_probs = self._generate_single_turn(prompts, images, fields, 1)
        return [Answer(*each) for each in zip(ids, log_probs or [None] * len(ids), strict=True)]

    @contextmanager
    def instead_of_sampling(self, answers: list[Answer]) -> Iterator[None]:
        self._answers = answers
        try:
            yield
        finally:
            self._answers = None

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> tuple[list[list[int]], Any]:
        """TRL's; the answers that are there already."""
        if self._answers is not None:
            log_probs = [answer.log_probs for answer in self._answers]
            return [answer.ids for answer in self._answers], log_probs if self.use_vllm else None
        return super()._generate_single_turn(*args, **kwargs)

    def leave_out(self, result: dict[str, Any], reached: torch.Tensor) -> None:
        result["completion_mask"] = result["completion_mask"] * reached[:, None]
        result["num_items_in_batch"] = self.accelerator.gather(result["completion_mask"].sum()).sum()

    def record(self, name: str, value: float) -> None:
        self._metrics["train" if self.model.training else "eval"][name].append(value)
