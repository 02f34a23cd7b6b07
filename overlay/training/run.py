"""The run that a trainer makes, from where it starts to the model that ends it: what all trainers change of Trainer's
own loop. `overlay.training.trainer` or `overlay.backends.sft.trainer` stands in front of it, the base's trainer behind.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from overlay.data.order import Order
from overlay.errors import RunStopped
from overlay.model.adapter import without_adapter
from overlay.prompt.style import PromptStyle
from overlay.prompt.style_file import write_style
from overlay.training import stopped
from overlay.training.card import write_card
from overlay.training.checkpoints import Checkpoints, readable
from overlay.training.heartbeat import Beats, Heartbeat
from overlay.training.identity import RunRecord
from overlay.training.leave import close_at_exit
from overlay.training.log_file import LogFile
from overlay.training.stop import Stop, refuse
from overlay.training.vllm_server import ServerFault
from overlay.training.weights import load_weights

Base: Any = object  # what stands behind is Trainer, TRL's or VLM-R1's


class Run(Base):
    """Mixin. `record_of_run`: kept while training; `style`: kept with the weights; `order`: of the training rows where
    that is not each once at random."""

    _step = 0  # micro-steps so far, where the base counts them: in trainers that generate

    def __init__(
        self,
        *,
        record_of_run: RunRecord | None = None,
        style: PromptStyle | None = None,
        order: Order | None = None,
        **kwargs: Any,
    ):
        self.heartbeat: Heartbeat | None = None
        self.record_of_run, self.style, self.own_order = record_of_run, style, order
        self._ended, self._rows, self._whole = False, [], 0
        super().__init__(**kwargs)
        left = without_adapter(self.accelerator.unwrap_model(self.model))
        if left and self.args.process_index == 0:
            print(
                f"the adapter is on linear layers: the experts stay as they are ({sum(left.values()):,} parameters); "
                f"--lora_target_parameters {' '.join(left)} --lora_dropout 0 adapts them too",
                file=sys.stderr,
            )
        self.checkpoints = Checkpoints(self.args, self.accelerator.wait_for_everyone)
        self.stop = Stop()
        self.checkpoints.additions.append(self.write_style)
        self.add_callback(self.stop)
        self.add_callback(LogFile(self.args.output_dir))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base does, from where `Checkpoints.start` says; raises RunStopped when the run was stopped."""
        start = self.checkpoints.start(resume_from_checkpoint, self.is_deepspeed_enabled)
        if start:
            with readable(start):
                self.go_on_from(Path(start))
        if self.record_of_run is not None:
            sets = {"trained on": self.train_dataset, "held out": self.eval_dataset}
            self.record_of_run.rows = {name: len(rows) for name, rows in sets.items() if rows is not None}
            self.record_of_run.keep()
        if self.args.process_index == 0:
            stopped.forget(self.args.output_dir)
        self.stop.reason, self._rows, self._ended, self._whole = None, [], False, self._step
        self.heartbeat = Heartbeat(self.args.ddp_timeout)
        self.add_callback(Beats(self.heartbeat))
        try:
            with readable(start):
                result = super().train(start, *args, **kwargs)
            close_at_exit(getattr(getattr(self, "vllm_generation", None), "llm", None))
            if self.stop.reason:
                raise RunStopped(self.stop.reason)
        except RunStopped as reason:
            if isinstance(reason, ServerFault):
                self._keep_steps()
            stopped.keep(self.args.output_dir, str(reason), self.state.global_step)
            raise
        finally:
            self.heartbeat.stop()
            self.remove_callback(Beats)
        self._ended = True
        return result

    def beat(self, phase: str) -> None:
        """Tell the other ranks where this one stands; the same calls on every rank."""
        if self.heartbeat is not None:
            self.heartbeat.beat(phase)

    def go_on_from(self, checkpoint: Path) -> None:
        """Read back what Trainer does not, before it goes on from there."""

    def rows_of(self, inputs: Any) -> list[dict]:
        """The rows of a micro-batch."""
        return inputs

    def training_step(self, model: torch.nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The base's step; RunStopped at a loss that is not finite."""
        loss = super().training_step(model, inputs, *args, **kwargs)
        self._rows.extend(self.rows_of(inputs))
        if self.accelerator.sync_gradients:
            self._whole = self._step
        self._refuse("loss", loss)
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        """The base's, before the optimizer's step; RunStopped when it is not finite. Under fp16 that is a step which
        the scaler skips."""
        norm = super()._get_grad_norm(*args, **kwargs)
        if norm is not None and not self.args.fp16:
            self._refuse("gradient norm", torch.as_tensor(norm))
        self._rows = []
        return norm

    def _run_epoch(self, *args: Any, **kwargs: Any) -> Any:
        """The base's; nothing when a run is started again that was cut off between its last step and its model."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return None
        return super()._run_epoch(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The base's; the model that is saved after the last step ends the run."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call:
            self.write_style(Path(output_dir or self.args.output_dir))
        if self._ended and not _internal_call and self.record_of_run is not None:
            self.record_of_run.keep(finished=self.state.global_step)
            self.write_style(Path(output_dir or self.args.output_dir))  # the card says that it is finished

    def write_style(self, folder: Path) -> None:
        """Say in a model's folder how it was asked, and what it is; one process for each folder."""
        if not self.args.should_save:
            return
        if self.style is not None:
            write_style(self.style, folder)
        write_card(folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The base's says less, and what it says may be wrong; `write_card` writes ours."""

    def _refuse(self, what: str, value: torch.Tensor) -> None:
        refuse(what, value, self._rows, self.state.global_step, self.args.output_dir, self.args.process_index)

    def _get_output_dir(self, trial: Any) -> str:
        return self.checkpoints.folder(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        write = partial(super()._save_checkpoint, model, trial)
        self.checkpoints.save(Path(super()._get_output_dir(trial)), self.state, write, self)

    def _keep_steps(self) -> None:
        """A checkpoint of the steps before the one that has just failed, on every rank, before it touched a weight."""
        if self.state.global_step:
            self._step = self._whole
            self._save_checkpoint(self.model, None)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        target = self.accelerator.unwrap_model(model or self.model)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or not load_weights(target, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        target, best = self.accelerator.unwrap_model(self.model), self.state.best_model_checkpoint
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or not load_weights(target, best):
            super()._load_best_model()
