"""Settings that the trainers' argument classes declare and that would do nothing here. They are refused, not ignored.

docs/arguments.md lists every argument of both backends; `tests/backends/test_arguments.py` makes it and shows that each
is read by the code or stands here.
"""

from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any

from overlay.errors import SettingError
from overlay.needs import check, check_methods

NO_LOGITS = "evaluation samples and scores completions, it has no logits or labels"
OWN_SAMPLER = "prompts are sampled in groups, by a sampler of the trainer's own"
BOTH = {
    "auto_find_batch_size": "a smaller batch would no longer divide into groups",
    "average_tokens_across_devices": "GRPO's loss types choose what is averaged, see --loss_type",
    "batch_eval_metrics": NO_LOGITS,
    "do_eval": "use --eval_strategy",
    "do_predict": "use make eval",
    "do_train": "training is all that this program does",
    "eval_accumulation_steps": NO_LOGITS,
    "eval_do_concat_batches": NO_LOGITS,
    "eval_use_gather_object": NO_LOGITS,
    "include_for_metrics": NO_LOGITS,
    "include_num_input_tokens_seen": "prompts reach the trainer as messages; see the completion lengths in the log",
    "label_names": NO_LOGITS,
    "label_smoothing_factor": "GRPO has no labels",
    "length_column_name": OWN_SAMPLER,
    "prediction_loss_only": NO_LOGITS,
    "remove_unused_columns": "rewards read the rows' columns",
    "train_sampling_strategy": OWN_SAMPLER,
}
JSONL = "rows come from --data_file_paths"
NO_REWARDS = "supervised training imitates the rows, it asks no reward"
QUANTIZED = "this backend loads the model whole"
REFUSED = {
    "trl": BOTH
    | {
        "max_tool_calling_iterations": "a GUI step has no tools",
        "transformers_continuous_batching_config": "TRL has it for text models only",
        "use_transformers_continuous_batching": "TRL has it for text models only",
        "use_transformers_paged": "TRL has it for text models only",
    },
    "sft": BOTH
    | {
        "average_tokens_across_devices": "the loss is the mean over the tokens of all ranks",
        "label_smoothing_factor": "the loss is that of the completion as it is",
        "reward_funcs": NO_REWARDS,
        "reward_method": NO_REWARDS,
        "eval_reward_method": NO_REWARDS,
    },
    "vlm-r1": BOTH
    | {
        "bnb_4bit_quant_storage": QUANTIZED,
        "bnb_4bit_quant_type": QUANTIZED,
        "dataset_config": JSONL,
        "dataset_streaming": JSONL,
        "dataset_test_split": JSONL,
        "dataset_train_split": JSONL,
        "ds3_gather_for_generation": "upstream always gathers the weights for generation",
        "dtype": "use --torch_dtype",
        "fsdp": "several GPUs are DeepSpeed's here: --deepspeed",
        "fsdp_config": "several GPUs are DeepSpeed's here: --deepspeed",
        "ignore_bias_buffers": "no code reads it",
        "load_in_4bit": QUANTIZED,
        "load_in_8bit": QUANTIZED,
        "lora_target_modules": "upstream adapts every linear layer outside the vision tower",
        "model_revision": "give the folder of the revision you want",
        "use_bnb_nested_quant": QUANTIZED,
        "vllm_device": "vLLM's engine is in the trainer's process, on its device, or a server",
        "vllm_dtype": "vLLM samples in what the trainer computes in",
        "vllm_enable_prefix_caching": "a group's prompt is asked for once, with all its completions",
    },
}


def defaults(arguments: Any) -> dict[str, Any]:
    """Default of every field of an arguments object or class."""
    made = {f.name: f.default_factory() for f in fields(arguments) if f.default_factory is not MISSING}
    return {f.name: f.default for f in fields(arguments) if f.default_factory is MISSING} | made


def _nothing(value: Any) -> bool:
    """Empty, or a dictionary of empty values: what some releases make of a default None or ""."""
    return not (any(value.values()) if isinstance(value, dict) else value)


def _values(*arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what each setting is, what it is by default) of parsed arguments."""
    usual = {name: value for part in arguments for name, value in defaults(part).items()}
    return {name: getattr(part, name) for part in arguments for name in defaults(part)}, usual


def refuse_by_methods(methods: Collection[str], *arguments: Any) -> None:
    """Raise SettingError when one of the parsed `arguments` does nothing with the accuracy methods of the rows."""
    check_methods(*_values(*arguments), methods)


def refuse(backend: str, *arguments: Any) -> None:
    """Raise SettingError when one of a backend's parsed `arguments` asks for what would do nothing, in this backend or
    without another setting."""
    evaluates = any(getattr(part, "eval_strategy", "no") != "no" for part in arguments)
    for part in arguments:
        for name, default in defaults(part).items():
            reason = REFUSED[backend].get(name)
            if reason is None or (name == "do_eval" and evaluates):  # the config class sets do_eval by itself
                continue
            value = getattr(part, name)
            if value != default and not (_nothing(value) and _nothing(default)):
                raise SettingError(f"--{name} {value}: not in BACKEND={backend}: {reason}")
    check(*_values(*arguments))
