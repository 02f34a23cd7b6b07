"""Settings of the trainers that do something only beside another one. Set without it they are refused, not ignored.

`NEEDS` is the one table. `overlay.refused.refuse` walks it before anything is read, for what the settings alone tell;
`check_methods` follows once the rows are known, for what their accuracy methods tell.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from overlay.errors import SettingError

Settings = Mapping[str, Any]


def _on(name: str) -> Callable[[Settings], bool]:
    return lambda given: bool(given.get(name))


def _is(name: str, *values: str) -> Callable[[Settings], bool]:
    return lambda given: getattr(given.get(name), "value", given.get(name)) in values


def _not(name: str, *values: str) -> Callable[[Settings], bool]:
    return lambda given: not _is(name, *values)(given)


def _server(given: Settings) -> bool:
    return bool(given.get("use_vllm")) and given.get("vllm_mode") == "server"


def _colocated(given: Settings) -> bool:
    return bool(given.get("use_vllm")) and given.get("vllm_mode") == "colocate"


@dataclass(frozen=True)
class Need:
    """`flags` (names without dashes) do something only where `met` says so of all settings; `words`: what that takes,
    as one would give it. `harmless`: values that need nothing although they are not the default."""

    flags: tuple[str, ...]
    words: str
    met: Callable[[Settings], bool]
    harmless: tuple[Any, ...] = ()


VLLM = "--use_vllm true"
NEEDS = (
    # Rows.
    Need(("overlong",), "--max_prompt_length, which says what is too long", _on("max_prompt_length")),
    Need(("prompt_template",), "--task_type gui", _is("task_type", "gui"), ("zh", "en")),
    Need(("eval_image_folders", "eval_reward_method"), "--eval_data_file_paths", _on("eval_data_file_paths")),
    Need(
        ("eval_data_file_paths", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size",
         "num_generations_eval", "bf16_full_eval", "fp16_full_eval", "metric_for_best_model"),
        "--eval_strategy steps or epoch", _not("eval_strategy", "no"),
    ),
    Need(("direct_share", "answer_weight"), "--thinking true", lambda given: given.get("thinking") is not False),
    # Episodes.
    Need(
        ("episode_steps", "episode_discount", "episode_weight"), "--episodes semi-online or live",
        _is("episodes", "semi-online", "live"),
    ),
    Need(("patches",), "--episodes semi-online", _is("episodes", "semi-online")),
    Need(("live_pages", "live_tasks", "live_seeds", "browsers"), "--episodes live", _is("episodes", "live")),
    Need(
        ("difficulty", "data_weights", "curriculum_epochs", "val_split_ratio", "least_blame"),
        "rows, so --episodes no or semi-online", _not("episodes", "live"),
    ),
    # vLLM.
    Need(
        ("vllm_mode", "vllm_model_impl", "vllm_structured_outputs_regex", "vllm_guided_decoding_regex",
         "vllm_max_model_len", "vllm_max_model_length", "vllm_importance_sampling_correction",
         "vllm_importance_sampling_mode", "vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max",
         "vllm_importance_sampling_clip_min"),
        VLLM, _on("use_vllm"),
    ),
    Need(
        ("generate_ahead", "vllm_request_timeout", "vllm_server_base_url", "vllm_server_host", "vllm_server_port",
         "vllm_server_timeout", "vllm_group_port"),
        f"{VLLM} --vllm_mode server", _server,
    ),
    Need(
        ("vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_enable_sleep_mode"),
        f"{VLLM} --vllm_mode colocate", _colocated,
    ),
    # The loss.
    Need(("use_bias_correction_kl",), "--beta above 0", _on("beta")),
    Need(("ref_model_mixup_alpha", "ref_model_sync_steps"), "--sync_ref_model true", _on("sync_ref_model")),
    Need(("delta",), "--loss_type grpo, bnpo, dr_grpo, dapo or luspo", _not("loss_type", "cispo", "sapo", "vespo")),
    Need(("sapo_temperature_neg", "sapo_temperature_pos"), "--loss_type sapo", _is("loss_type", "sapo")),
    Need(
        ("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"), "--loss_type vespo",
        _is("loss_type", "vespo"),
    ),
    Need(
        ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"), "--use_adaptive_entropy true",
        _on("use_adaptive_entropy"),
    ),
    # The model.
    Need(
        ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_parameters",
         "lora_modules_to_save", "lora_task_type", "use_rslora", "use_dora"),
        "--use_peft true", _on("use_peft"),
    ),
    Need(
        ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"), "--load_in_4bit true",
        _on("load_in_4bit"),
    ),
    Need(("gradient_checkpointing_kwargs",), "--gradient_checkpointing true", _on("gradient_checkpointing")),
    Need(("liger_kernel_config",), "--use_liger_kernel true", _on("use_liger_kernel")),
    # What is kept and told.
    Need(("save_only_model",), "--save_strategy steps or epoch", _not("save_strategy", "no")),
    Need(("greater_is_better",), "--metric_for_best_model", _on("metric_for_best_model")),
    Need(
        ("log_multimodal", "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo"),
        "--log_completions true", _on("log_completions"),
    ),
    Need(
        ("hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision"),
        "--push_to_hub true", _on("push_to_hub"),
    ),
    Need(
        ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), "--report_to trackio",
        lambda given: "trackio" in (given.get("report_to") or ()),
    ),
    Need(
        ("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_multiprocessing_context",
         "dataloader_in_order"),
        "--dataloader_num_workers above 0", _on("dataloader_num_workers"),
    ),
)  # fmt: skip
OF_METHODS = (
    Need(
        ("judge_model", "judge_prompt", "judge_concurrency", "judge_timeout", "judge_deadline", "judge_retries",
         "judge_cache_dir", "judge_structured", "judge_max_failure"),
        "--reward_method llm (or rows with that method), with --reward_funcs accuracy",
        lambda given: "llm" in given["methods"],
    ),
    Need(
        ("click_reward",),
        "--reward_method gui_action (or rows with that method) with --reward_funcs accuracy, or "
        "--reward_funcs gui_action",
        lambda given: "gui_action" in {*given["methods"], *given["reward_funcs"]},
    ),
)  # fmt: skip


def check(given: Settings, defaults: Settings, needs: Collection[Need] = NEEDS) -> None:
    """SettingError for the first setting that differs from its default and lacks what it needs. Names that `given` has
    not are another backend's."""
    for need in needs:
        for flag in need.flags:
            if flag not in given or given[flag] == defaults[flag] or given[flag] in need.harmless:
                continue
            if not need.met(given):
                raise SettingError(f"--{flag}: needs {need.words}: give that too, or leave --{flag} out")


def check_methods(given: Settings, defaults: Settings, methods: Collection[str]) -> None:
    """`check` for what depends on the accuracy methods that occur in the rows."""
    check({**given, "methods": methods}, defaults, OF_METHODS)
