"""Settings that upstream declares and does not read, in our subclass: sampling, reference sync; and a bad loss."""

import json

import pytest
import torch

from overlay.errors import RunStopped, SettingError

pytestmark = pytest.mark.integration


def zeros(completions, **columns):
    return [float(n) for n in range(len(completions))]


def test_sampling_settings_reach_generation_and_the_log_probs(vlm_r1_trainer):
    trainer = vlm_r1_trainer(
        [zeros], temperature=0.5, top_p=0.9, top_k=7, min_p=0.01, repetition_penalty=1.1, num_iterations=2
    )
    config = trainer.generation_config
    assert (config.temperature, config.top_p, config.top_k, config.min_p) == (0.5, 0.9, 7, 0.01)
    assert config.repetition_penalty == 1.1
    # The policy's log-probs are those at the temperature that was sampled at.
    rows = [trainer.train_dataset[i] for i in (0, 0)]
    result = trainer._generate_and_score_completions(rows, trainer.model)
    ids = torch.cat([result["prompt_ids"], result["completion_ids"]], 1)
    mask = torch.cat([result["prompt_mask"], result["completion_mask"]], 1)
    assert result["multimodal_inputs"].pop("prompt_length") == result["prompt_ids"].shape[1]  # ours, not the model's
    with torch.no_grad():
        logits = trainer.model(input_ids=ids, attention_mask=mask, **result["multimodal_inputs"]).logits
    length = result["completion_ids"].size(1)
    expected = (logits[:, -length - 1 : -1] / 0.5).log_softmax(-1)
    expected = expected.gather(2, result["completion_ids"][..., None])[..., 0]
    kept = result["completion_mask"].bool()
    torch.testing.assert_close(result["old_per_token_logps"][kept], expected[kept], atol=1e-5, rtol=0)


def test_greedy_like_sampling_repeats_itself(vlm_r1_trainer):
    trainer = vlm_r1_trainer([zeros], top_k=1)
    rows = [trainer.train_dataset[i] for i in (0, 0)]
    first, second = trainer._generate_and_score_completions(rows, trainer.model)["completion_ids"]
    assert torch.equal(first, second)


def test_the_reference_follows_the_policy(vlm_r1_trainer, tmp_path):
    settings = {
        "beta": 0.04, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.25,
        "learning_rate": 1e-2, "max_steps": 2, "save_strategy": "steps", "save_steps": 2,
    }  # fmt: skip
    trainer = vlm_r1_trainer([zeros], **settings)
    base = {name: p.clone() for name, p in trainer.ref_model.named_parameters()}
    trainer.train()
    policy = dict(trainer.model.named_parameters())
    assert any(not torch.equal(policy[name], base[name]) for name in base)
    for name, reference in trainer.ref_model.named_parameters():
        torch.testing.assert_close(reference, 0.75 * base[name] + 0.25 * policy[name], msg=name)
    assert (tmp_path / "checkpoint-2" / "reference.pt").exists()


def test_sync_without_a_reference_is_refused(vlm_r1_trainer):
    with pytest.raises(SettingError, match="--sync_ref_model needs a reference model"):
        vlm_r1_trainer([zeros], beta=0.0, sync_ref_model=True)


def test_a_loss_that_is_no_number_stops_and_keeps_its_rows(vlm_r1_trainer, tmp_path):
    trainer = vlm_r1_trainer([zeros], max_steps=3, save_strategy="steps", save_steps=1)
    compute = trainer.compute_loss

    def poisoned(*args, **kwargs):
        loss = compute(*args, **kwargs)
        return loss * float("nan") if trainer.state.global_step == 1 else loss

    trainer.compute_loss = poisoned
    with pytest.raises(RunStopped, match=r"loss nan in step 1: its rows are in .*bad_loss_rank00000\.jsonl"):
        trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "bad_loss_rank00000.jsonl").open()]
    assert len(rows) == 4
    assert all(row["source"] and row["solution"] for row in rows)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1"]
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
