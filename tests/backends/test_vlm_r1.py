"""The patched VLM-R1: the stock grpo_jsonl.py trains on GUI steps, and its log-probs are those of generation."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from overlay.action.completion import TOOL_CALL
from overlay.backends.trl.arguments import TrainArguments
from overlay.backends.trl.trainer import GuiGRPOTrainer
from overlay.model.processor import load_processor
from overlay.prompt.style_file import read_style
from overlay.training import rollout_file as rollouts
from tests.stock import ZERO3, healthy, run_stock

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def generates(folder, adapter_of=None):
    """Whether a saved model loads and answers."""
    model = AutoModelForImageTextToText.from_pretrained(adapter_of or folder)
    if adapter_of:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder)
    processor = load_processor(str(adapter_of or folder))
    inputs = processor(text="<|im_start|>user\n", return_tensors="pt")
    return model.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]


@pytest.mark.long
def test_two_ranks_on_rows_of_no_one_and_two_images(upstream, tiny_model_dir, mixed_rows, tmp_path):
    log = run_stock(
        upstream, tiny_model_dir, mixed_rows, tmp_path / "run", eval_strategy="steps", eval_steps=1,
        val_split_ratio=0.17, per_device_eval_batch_size=2, reward_funcs=["accuracy", "format"],
        variables={"DEBUG_MODE": "true", "LOG_PATH": str(tmp_path / "debug.txt")},
    )  # fmt: skip
    assert healthy(log)
    assert generates(tmp_path / "run" / "checkpoint-2")
    assert read_style(tmp_path / "run") == read_style(tmp_path / "run" / "checkpoint-2") is not None
    weights = load_file(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}  # --torch_dtype
    # Evaluation has its own metrics, and training's log has none of them.
    evaluations = [entry for entry in log if "eval_reward" in entry]
    assert len(evaluations) == 2
    names = {"eval_rewards/accuracy_reward", "eval_completion_length", "eval_step_success_rate", "eval_format_rate"}
    assert names <= set(evaluations[0])
    assert not [entry for entry in log if "loss" in entry and "eval_reward" in entry]
    # Both ranks wrote records of their own.
    assert {path.name for path in tmp_path.glob("debug*")} == {"debug.rank0_format.txt", "debug.rank1_format.txt"}


def test_zero3_with_a_reference_model(upstream, forks, tiny_model_dir, demo_rows, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    log = run_stock(
        upstream, tiny_model_dir, demo_rows, tmp_path / "run", forks=forks, cpu=False, deepspeed=config, beta=0.04,
        num_iterations=2, gradient_checkpointing="true", freeze_vision_modules="true",
    )  # fmt: skip
    assert healthy(log)
    assert generates(tmp_path / "run" / "checkpoint-2")


def test_zero3_with_ranks_that_have_no_image(upstream, forks, tiny_model_dir, mixed_rows, tmp_path):
    config = tmp_path / "zero3.json"
    config.write_text(json.dumps(ZERO3))
    log = run_stock(
        upstream, tiny_model_dir, mixed_rows, tmp_path / "run", forks=forks, cpu=False, deepspeed=config, beta=0.04,
        max_steps=4, per_device_train_batch_size=2,
    )  # fmt: skip
    assert healthy(log, steps=4)


def test_lora_tool_calls_and_earlier_screens(upstream, forks, tiny_model_dir, demo_rows, tmp_path):
    log = run_stock(
        upstream, tiny_model_dir, demo_rows, tmp_path / "run", forks=forks, processes=1, use_peft="true", lora_r=4,
        lora_alpha=8, lora_task_type="CAUSAL_LM", answer_format=TOOL_CALL, history_screens=2,
    )  # fmt: skip
    assert read_style(tmp_path / "run").answer_format == TOOL_CALL
    records = rollouts.read(tmp_path / "run")
    assert {record["answer_format"] for record in records} == {TOOL_CALL}
    assert max(len(record["image_path"]) for record in records) > 2  # with earlier screens
    assert healthy(log)
    assert (tmp_path / "run" / "adapter_model.safetensors").exists()
    assert generates(tmp_path / "run", adapter_of=tiny_model_dir)


@pytest.fixture
def trainer(vlm_r1_trainer):
    return vlm_r1_trainer([lambda completions, **columns: [0.0] * len(completions)], num_iterations=2)


def test_log_probs_are_those_of_generation_and_of_trl(trainer):
    rows = [trainer.train_dataset[i] for i in (0, 5, 60, 60)]
    assert {len(row["image_path"]) for row in rows} == {1, 2}
    captured = {}
    generate = trainer.model.generate

    def capturing(**inputs):
        output = generate(**inputs, output_logits=True, return_dict_in_generate=True)
        captured.update(logits=torch.stack(output.logits, 1), inputs=inputs)
        return output.sequences

    trainer.model.generate = capturing
    result = trainer._generate_and_score_completions(rows, trainer.model)
    completion, mask = result["completion_ids"], result["completion_mask"].bool()
    assert not result["prompt_mask"].all()  # the prompts differ in length: the batch is padded on the left
    log_probs = captured["logits"].float().log_softmax(-1)
    expected = log_probs.gather(2, completion[..., None])[..., 0]
    actual = result["old_per_token_logps"]
    assert (actual - expected)[mask].abs().max() < 1e-5

    assert result["multimodal_inputs"].pop("prompt_length") == result["prompt_ids"].shape[1]  # ours, not the model's
    # TRL's own pass over the same tokens and pixels, by its own trainer on the same weights.
    trl = GuiGRPOTrainer(
        model=str(Path(trainer.args.output_dir) / "renamed"),
        reward_funcs=[lambda completions, **columns: [0.0] * len(completions)],
        args=TrainArguments(
            output_dir=trainer.args.output_dir, per_device_train_batch_size=4, num_generations=2, use_cpu=True,
            bf16=False, report_to="none",
        ),
        train_dataset=trainer.train_dataset,
        processing_class=trainer.processing_class,
    )  # fmt: skip
    with torch.no_grad():
        theirs, *_ = trl._get_per_token_logps_and_entropies(
            trl.model,
            torch.cat([result["prompt_ids"], completion], 1),
            torch.cat([result["prompt_mask"], result["completion_mask"]], 1),
            completion.size(1),
            num_images=[len(row["image_path"]) for row in rows],
            **result["multimodal_inputs"],
        )
    assert (theirs - actual)[mask].abs().max() < 1e-5


def test_image_tokens_are_never_sampled(trainer):
    config = trainer.model.config
    assert {config.image_token_id, config.video_token_id} <= set(trainer.generation_config.suppress_tokens)


def test_a_missing_method_is_named(trainer):
    from overlay.backends.vlm_r1.trainer import must_have

    with pytest.raises(TypeError, match="Other has no compute_loss any more"):
        must_have(type("Other", (), {}), ("compute_loss",))
