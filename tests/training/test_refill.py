"""Groups with equal rewards give way to groups of other prompts; batches are merged row by row."""

import json

import pytest
import torch

from overlay.training import rollout_file as rollouts
from overlay.training.refill import exchanged
from tests.stock import ROOT, run_stock


def batch(prompts, completions, images, value):
    """A generation's result with the given lengths; every number of row n is `value` + n."""
    grids = torch.tensor([[1, 2, 2 * (n + 1)] for n, count in enumerate(images) for _ in range(count)])
    width, length = max(prompts), max(completions)
    rows = len(prompts)
    return {
        "prompt_ids": torch.stack(
            [torch.tensor([0] * (width - p) + [value + n] * p) for n, p in enumerate(prompts)]
        ),
        "prompt_mask": torch.stack([torch.tensor([0] * (width - p) + [1] * p) for p in prompts]),
        "completion_ids": torch.stack(
            [torch.tensor([value + n] * c + [0] * (length - c)) for n, c in enumerate(completions)]
        ),
        "completion_mask": torch.stack([torch.tensor([1] * c + [0] * (length - c)) for c in completions]),
        "advantages": torch.tensor([float(value + n) for n in range(rows)]),
        "old_per_token_logps": None,
        "multimodal_inputs": {
            "pixel_values": torch.cat([torch.full((int(g.prod()), 3), float(value + g[2] // 2 - 1)) for g in grids])
            if len(grids) else None,
            "image_grid_thw": grids if len(grids) else None,
            "mm_token_type_ids": torch.ones(rows, width + length, dtype=torch.long),
        },
    }  # fmt: skip


def test_rows_are_taken_with_their_padding_and_their_images():
    kept, fresh = batch([3, 2], [4, 1], [2, 1], 10), batch([5, 4], [2, 2], [1, 0], 50)
    merged = exchanged(kept, fresh, [True, False], ([2, 1], [1, 0]), 0)
    assert merged["prompt_ids"].tolist() == [[50] * 5, [0, 0, 0, 11, 11]]
    assert merged["prompt_mask"].tolist() == [[1] * 5, [0, 0, 0, 1, 1]]
    assert merged["completion_ids"].tolist() == [[50, 50, 0, 0], [11, 0, 0, 0]]
    assert merged["advantages"].tolist() == [50, 11]
    assert merged["old_per_token_logps"] is None
    inner = merged["multimodal_inputs"]
    assert inner["image_grid_thw"].tolist() == [[1, 2, 2], [1, 2, 4]]
    assert inner["pixel_values"][:, 0].tolist() == [50] * 4 + [11] * 8
    assert inner["mm_token_type_ids"].tolist() == [[1] * 7 + [0] * 2, [0, 0] + [1] * 7]


def test_a_batch_without_images_takes_rows_that_have_some():
    kept, fresh = batch([2, 2], [2, 2], [0, 0], 10), batch([2, 2], [2, 2], [1, 1], 50)
    inner = exchanged(kept, fresh, [False, True], ([0, 0], [1, 1]), 0)["multimodal_inputs"]
    assert inner["image_grid_thw"].tolist() == [[1, 2, 4]]
    assert inner["pixel_values"].shape == (8, 3)
    inner = exchanged(fresh, kept, [True, True], ([1, 1], [0, 0]), 0)["multimodal_inputs"]
    assert inner["pixel_values"] is None


def spread_on_some(completions, source, **columns):
    """Rewards that rank the completions of every third row only."""
    texts = [completion[0]["content"] for completion in completions]
    rows = [int(name.rsplit(":", 1)[1]) for name in source]
    return [n / 10 if row % 3 == 0 else 0.5 for n, (text, row) in enumerate(zip(texts, rows, strict=True))]


@pytest.mark.integration
def test_vlm_r1_fills_its_batch(vlm_r1_trainer):
    trainer = vlm_r1_trainer([spread_on_some], {"dynamic_sampling": 8}, per_device_train_batch_size=4)
    trainer.model.train()
    rows = [dict(trainer.train_dataset[n]) for n in (0, 0, 2, 2)]  # lines 1 and 3: only the second is ranked
    result = trainer._generate_and_score_completions(rows, trainer.model)
    assert all(pair.any() for pair in result["advantages"].view(-1, 2))
    assert trainer._metrics["dynamic_sampling/dull_groups"] == [0.0]
    assert trainer._metrics["dynamic_sampling/batches"][0] >= 1
    # The merged batch is one that the model can be trained on: its log-probs are those of the batch on its own.
    ids = torch.cat([result["prompt_ids"], result["completion_ids"]], 1)
    mask = torch.cat([result["prompt_mask"], result["completion_mask"]], 1)
    with torch.no_grad():
        logps = trainer._get_per_token_logps(trainer.model, ids, mask, **result["multimodal_inputs"])
    assert torch.isfinite(logps).all()


@pytest.mark.integration
@pytest.mark.slow
def test_both_backends_on_two_ranks_with_groups_across_them(upstream, forks, tiny_model_dir, demo_rows, tmp_path):
    """A batch of one on each rank, so that a group's completions are on both: every rank must take the same ones."""
    log = run_stock(
        upstream, tiny_model_dir, demo_rows, tmp_path / "stock", forks=forks, per_device_train_batch_size=1,
        dynamic_sampling=2, beta=0.04, max_steps=2,
    )  # fmt: skip
    assert all(0 <= entry["dynamic_sampling/batches"] <= 2 for entry in log if "loss" in entry)
    line = [
        "--model_name_or_path", tiny_model_dir, "--data_file_paths", demo_rows, "--image_folders",
        ROOT / "data_prep" / "miniwob" / "tasks" / "train", "--arrow_cache_dir", tmp_path / "arrow", "--max_steps", 2,
        "--reward_method", "gui_action", "--max_pixels", 84 * 112, "--output_dir", tmp_path / "trl",
        "--per_device_train_batch_size", 1, "--num_generations", 2, "--max_completion_length", 8, "--use_cpu", "true",
        "--bf16", "false", "--report_to", "none", "--dynamic_sampling", 2, "--logging_steps", 1,
    ]  # fmt: skip
    done = forks.run(["-m", "overlay.backends.trl.train", *line], tmp_path / "trl.log", 2)
    assert done.statuses == [0, 0], done.err[-3000:]
    log = json.loads((tmp_path / "trl" / "trainer_state.json").read_text())["log_history"]
    # An untrained model gets the same reward for all it says: every batch is tried, and all groups stay dull.
    assert [(e["dynamic_sampling/batches"], e["dynamic_sampling/dull_groups"]) for e in log[:2]] == [(2, 1)] * 2
    records = rollouts.read(tmp_path / "trl")
    assert len(records) == 2 * 3 * 2  # steps, batches, ranks
    assert len({record["source"] for record in records}) > 2
