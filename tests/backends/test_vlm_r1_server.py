"""VLM-R1's trainer with a vLLM server (the stand-in): each prompt once, weights once a step, the next batch ahead."""

import pytest

from overlay.errors import RunStopped
from overlay.model.processor import write_limited
from tests.backends.test_generate_ahead import logged, of_prompts
from tests.backends.test_vllm_faults import hang_up, in_step
from tests.vllm_standin import GENERATE, start_standin  # noqa: F401  (a fixture)

pytestmark = pytest.mark.integration


@pytest.fixture
def start(start_standin, vlm_r1_trainer, tiny_model_dir, tmp_path):  # noqa: F811
    """Function (ahead, what the server does before an answer, **settings) → (trainer, stand-in)."""
    write_limited(tiny_model_dir, tmp_path / "limited", 784, 84 * 112)

    def build(ahead, before=None, **settings):
        server = start_standin(tmp_path / "limited")
        server.before = before or server.before
        own = {"vllm_mode": "server", "vllm_server_base_url": server.url, "generate_ahead": ahead, "rollout_log_mb": 0}
        values = {"use_vllm": True, "top_k": 0, "max_steps": 4, "learning_rate": 1e-3, "logging_steps": 1} | settings
        return vlm_r1_trainer(
            [lambda completions, **columns: [float(n) for n in range(len(completions))]], own, 5, **values
        ), server

    return build


@pytest.mark.parametrize("iterations", [1, 2])
def test_each_prompt_is_asked_for_once_and_the_next_batch_ahead(start, iterations):
    own = {"gradient_accumulation_steps": 2, "num_iterations": iterations, "per_device_train_batch_size": 2}
    own["save_strategy"] = "no"
    asked = []
    for ahead in (0, 1):
        trainer, server = start(ahead, **own)
        trainer.train()
        asked.append(of_prompts(server))
        assert all(body["sampling_params"]["n"] == 2 for body in server.of(GENERATE))
    batches = range(2 * 4 // iterations)  # of one prompt
    assert [weights for weights, _ in asked[0]] == [n // 2 + 1 for n in batches]
    assert [weights for weights, _ in asked[1]] == [max(n - 1, 0) // 2 + 1 for n in batches]
    assert [ids for _, ids in asked[0]] == [ids for _, ids in asked[1]]
    assert logged(trainer, "generate_ahead/used")[0] == 0.5  # the mean of two batches
    assert set(logged(trainer, "generate_ahead/used")[1:]) == {1}


def test_a_server_that_is_gone_costs_the_step_only(start, tmp_path):
    trainer, _ = start(0, in_step(2, GENERATE, hang_up))
    with pytest.raises(RunStopped, match=r"is gone\. Nothing was trained in step 2"):
        trainer.train()
    assert (tmp_path / "checkpoint-2").is_dir()
    trainer, server = start(0)
    trainer.train()
    assert trainer.state.global_step == 4
    assert len(server.of(GENERATE)) == 4
