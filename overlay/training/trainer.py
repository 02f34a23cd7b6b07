"""What both trainers share: one mixin in front of TRL's GRPOTrainer or VLM-R1's VLMGRPOTrainer.

The generate-and-score step is overridden once, top to bottom; everything with a life of its own is an object beside it:
recorder, refill, rollout file, judge watch, heartbeat, stop, checkpoints. What it changes of the loop around a batch is
`overlay.training.run`, and what a backend says for itself `overlay.training.backend`.
"""

import sys
from copy import deepcopy
from itertools import compress, repeat
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from overlay.data.images import open_images
from overlay.errors import RunStopped, SettingError
from overlay.model.images_once import process_once
from overlay.model.vision import take_any_rows
from overlay.prompt.style import PromptStyle
from overlay.rewards.judge.client import Judge
from overlay.settings import TrainerOptions
from overlay.training.advantages import blame
from overlay.training.ahead import GenerateAhead, Turn
from overlay.training.backend import Backend
from overlay.training.buffer import Buffer
from overlay.training.episodes import Episodes, World
from overlay.training.judge_watch import JudgeWatch
from overlay.training.no_signal import NoSignal
from overlay.training.parts import Parts
from overlay.training.precision import check_precision, keeps_masters
from overlay.training.rates import Rates, are_right, not_repeated
from overlay.training.recorder import HandOver, Recorder, statistics
from overlay.training.reference import KeepReference
from overlay.training.refill import Batch, Refill, is_dull
from overlay.training.rollout_file import RolloutFile, records_of
from overlay.training.sampler import Epochs, GroupSampler
from overlay.training.sampler_watch import SamplerWatch, slack_of
from overlay.training.shared_passes import SharedPasses
from overlay.training.vllm_agreement import dtype_of
from overlay.training.vllm_server import serve_from


class GuiTrainer(Backend):
    """Mixin. `options`: what to keep and to refill; `judge`: asked by the rewards, watched here; `hand_over`: what the
    trainer gets for raw scores (see Recorder); `places`: of held-out rows (see Rates); `world`: where episodes come
    from, None for rows one by one; the rest is `Run`'s and the base's."""

    ahead: GenerateAhead | None

    def __init__(
        self,
        *,
        args: Any,
        reward_funcs: list[Any],
        options: TrainerOptions | None = None,
        judge: Judge | None = None,
        hand_over: HandOver | None = None,
        places: dict[str, tuple[int, int]] | None = None,
        world: World | None = None,
        **kwargs: Any,
    ):
        self.options = options or TrainerOptions(rollout_log_mb=0)
        self.world, self.ahead = world, None
        self.recorder = Recorder(args.reward_weights, hand_over, self.beat)
        super().__init__(args=args, reward_funcs=self.recorder.wrapped(reward_funcs), **kwargs)
        self.buffer = Buffer(self, self.args.process_index)
        self.no_signal = NoSignal(self.args, gather_object)
        self.add_callback(self.no_signal)
        self.checkpoints.additions += [self.buffer.save, self.no_signal.save]
        check_precision(self.model, keeps_masters(self))
        for index, model in enumerate(self.reward_funcs):
            if isinstance(model, torch.nn.Module):
                self.recorder.watch(index, self.accelerator.unwrap_model(model))  # out of DeepSpeed's engine
        rank = self.args.process_index
        asked = self.style or PromptStyle()
        self.rates = Rates(self._gathered, places, asked.thinking, asked.answer_format)
        self.episodes = Episodes(world, self.options, self.num_generations, self._gathered) if world else None
        megabytes = self.options.rollout_log_mb
        self.rollouts = RolloutFile(self.args.output_dir, rank, megabytes) if megabytes else None
        self.refill = None
        if self.options.dynamic_sampling:
            pad_id = getattr(self.processing_class, "tokenizer", self.processing_class).pad_token_id
            drawn = self.train_dataset, self.num_generations, self.args.seed, rank, pad_id
            self.refill = self.checkpoints.parts["refill"] = Refill(self.options.dynamic_sampling, *drawn)
        self.judge_watch = JudgeWatch(judge, self._gathered) if judge else None
        self.sampler_watch = None
        if self.args.use_vllm:
            dtype = dtype_of(self.accelerator.unwrap_model(self.model), self.accelerator)
            slack = slack_of(self.args) + self.options.generate_ahead  # weights of one batch ago
            self.sampler_watch = SamplerWatch(dtype, slack, self._gathered)
        if self.args.sync_ref_model:
            if self.ref_model is None:
                raise SettingError("--sync_ref_model needs a reference model: --beta above 0, and no --use_peft")
            self.add_callback(KeepReference(self.ref_model, self.checkpoints))
        for model in filter(None, (self.model, self.ref_model)):
            take_any_rows(self.accelerator.unwrap_model(model), self.accelerator.num_processes)
        if hasattr(self.processing_class, "image_processor"):
            process_once(type(self.processing_class.image_processor))
        self.shared = SharedPasses(self.model, self.ref_model, self.accelerator, self.options.share_prompts)
        self.parts = Parts(self, self.options.tokens_per_pass)
        if self.shared.refused and rank == 0:
            print(f"each completion computes its prompt anew: {self.shared.refused}", file=sys.stderr)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Run's; what episodes are played in ends with it."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self.world is not None:
                self.world.close()

    def serve_from(self, vllm: Any) -> None:
        """Generate through TRL's VLLMGeneration; a backend's, once it has made it."""
        if vllm.mode != "server":
            return
        client = serve_from(vllm, self.options.vllm_request_timeout, lambda: self.state.global_step)
        if client is not None and self.options.generate_ahead:
            self.ahead = client.ahead = GenerateAhead(client.ask, self._prompts_ahead)
            self.checkpoints.parts["generate_ahead"] = self.ahead
            self._processor_ahead = deepcopy(self.processing_class)  # tokenizers take one call at a time

    def _prompts_ahead(self, numbers: list[int]) -> tuple[list[list[int]], list[Any]]:
        rows = [dict(self.train_dataset[number]) for number in numbers]
        open_images(rows, self.image_key)
        return self.prompts_of(rows, self._processor_ahead)

    def _turn(self, size: int) -> Turn:
        """This batch of training, of `size` rows on all ranks, and the one after it."""
        following = self.following_batch()
        last = following // self.args.gradient_accumulation_steps >= self.state.max_steps
        rows = [] if last else self.order.at(following * size, size)[:: self.num_generations]
        return Turn(self._step, following, rows)

    def record_component(self, name: str, values: dict[str, float]) -> None:
        """Log one reward's `statistics`; the trainers log the mean and more by themselves."""
        self.record(f"rewards/{name}/zero_std_groups", values["zero_std_groups"])

    def keep_records(self, records: list[dict[str, Any]]) -> None:
        """What becomes of a batch's completions; on every rank."""
        if self.rollouts is not None:
            self.rollouts.write(records)
        if not self.model.training:
            first = self.args.process_index * len(records)
            self.rates.add(records[: not_repeated(self.accelerator.gradient_state, first, len(records))])

    def go_on_from(self, checkpoint: Path) -> None:
        """The batch in whose middle a checkpoint lies, and the epoch's rows so far."""
        self.buffer.load(checkpoint)
        self.no_signal.load(checkpoint)

    def _get_train_sampler(self, dataset: Any = None) -> GroupSampler:
        theirs = super()._get_train_sampler()
        self.order = self.world.sampler(theirs) if self.world else GroupSampler.like(theirs, self.own_order)
        self.add_callback(Epochs(self.order))
        return self.order

    # One batch.

    def compute_loss(self, model: torch.nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The base's loss of a micro-batch; with --tokens_per_pass all of its parts but the last have gone backward."""
        base, step = super().compute_loss, self._step

        def compute() -> torch.Tensor:
            self._step = step  # VLM-R1 counts micro-steps here
            return base(model, inputs, *args, **kwargs)

        return self.parts.loss(compute)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        """One batch of completions with their advantages; with --dynamic_sampling, of prompts that have a gradient."""
        if self.ahead is not None and self.model.training:
            self.ahead.turn = self._turn(len(inputs) * self.accelerator.num_processes)
        result = self._generate_once(inputs, *model)
        if self.ahead is not None and self.model.training:
            for name, value in self.ahead.metrics().items():
                self.record(name, value)
        if self.refill is None or not self.model.training:
            return result

        def generate(rows: list[dict[str, Any]]) -> Batch:
            return Batch(rows, self._generate_once(rows, *model), is_dull(self.group_rewards()))

        batch, tried = self.refill(Batch(inputs, result, is_dull(self.group_rewards())), generate)
        if "num_items_in_batch" in batch.result:
            tokens = self.accelerator.gather(batch.result["completion_mask"].sum()).sum()
            batch.result["num_items_in_batch"] = tokens
        self.record("dynamic_sampling/batches", float(tried))
        self.record("dynamic_sampling/dull_groups", batch.dull.float().mean().item())
        return batch.result

    def _generate_once(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        """The base's generate-and-score step: images opened before it, rewards logged and kept after it."""
        open_images(inputs, self.image_key)
        self.shared.clear()
        self.recorder.clear()
        self.beat("generating")
        if self.episodes is None or not self.model.training:
            result = self._generate_watched(inputs, *model)
            rewards = self.group_rewards()
            self.adjust(result, rewards)
            if self.model.training:
                self.no_signal.note(inputs, rewards, self.own_part)
        else:
            turn = self._turn(len(inputs) * self.accelerator.num_processes)
            inputs, result = self.episodes.batch(self, inputs, self._generate_watched, *model)
            own = len(turn.rows) // self.accelerator.num_processes
            first = own * self.accelerator.process_index
            self.episodes.foresee(turn.rows[first : first + own])
        for name, scores in self.recorder.components().items():
            self.record_component(name, statistics(self._gathered(scores), self.group_size))
        texts = self.processing_class.batch_decode(result["completion_ids"], skip_special_tokens=True)
        if self.options.least_blame < 1 and self.model.training:
            self._soften(result, are_right(inputs, texts))
        if self.rollouts is not None or not self.model.training or self.args.log_completions:
            mode = "train" if self.model.training else "eval"
            advantages = result["advantages"].tolist()
            about = {"step": self.state.global_step, "mode": mode}
            records = records_of(about, inputs, texts, self.recorder.scores, advantages)
            self.keep_records(list(compress(records, self.recorder.reached or repeat(True))))
        if self.judge_watch is not None:
            metrics, reason = self.judge_watch.look(self.state.global_step)
            for name, value in metrics.items():
                self.record(name, value)
            if reason:
                self.stop(reason)
        return result

    def _soften(self, result: dict[str, Any], right: list[float]) -> None:
        """Less blame for what only one recorded action says is wrong (--least_blame)."""
        factors = blame(self._gathered(torch.tensor(right)).view(-1, self.group_size), self.options.least_blame)
        own = self.own_part(factors.repeat_interleave(self.group_size))
        result["advantages"] = torch.where(result["advantages"] < 0, result["advantages"] * own, result["advantages"])
        self.record("blame", factors.mean().item())

    def _generate_watched(self, inputs: list[dict[str, Any]], *model: Any) -> dict[str, Any]:
        """The base's step. RunStopped, on every rank, when an engine sampled from other prompts or weights than the
        trainer's."""
        result = super()._generate_and_score_completions(inputs, *model)
        if self.sampler_watch is None or (pair := self.sampled(result)) is None:
            return result
        step, mask = self.state.global_step, result["completion_mask"]
        metrics, reason = self.sampler_watch.look(step, *pair, mask, self.group_size)
        for name, value in metrics.items():
            self.record(name, value)
        if reason and self.options.generate_ahead:
            reason += ". With --generate_ahead 1 a step that changes the model as much does it too"
        if reason:
            raise RunStopped(reason)
        return result

    @property
    def group_size(self) -> int:
        """Completions of each prompt of the batch under way."""
        if self.model.training:
            return self.num_generations
        return getattr(self, "num_generations_eval", self.num_generations)

    def group_rewards(self) -> torch.Tensor:
        """Weighted reward of every completion of the last batch, of all ranks: (groups, completions of a prompt)."""
        return self._gathered(self.recorder.totals()).view(-1, self.group_size)

    def own_part(self, values: torch.Tensor) -> torch.Tensor:
        """This rank's part of what all ranks have of a batch."""
        return values.chunk(self.accelerator.num_processes)[self.accelerator.process_index]

    def _gathered(self, values: torch.Tensor) -> torch.Tensor:
        return self.accelerator.gather(values.to(self.accelerator.device))
