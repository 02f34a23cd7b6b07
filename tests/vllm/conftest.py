"""Tests with a real vLLM, in the environment that `make vllm` makes; everywhere else they are skipped, and say so."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.integration)
            if find_spec("vllm") is None:
                item.add_marker(pytest.mark.skip(reason="NEEDS VLLM: make test-vllm"))


@pytest.fixture(scope="session")
def vllm_model(demo_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny model whose heads vLLM's CPU attention takes (32 wide), with weights so large that what it says
    depends on the whole prompt: a wrong prompt shows in the log-probs. It never says an image token (5e-7), so that
    forbidding these to the sampler leaves its log-probs as they are."""
    import json

    import torch

    from overlay.demo import tiny_model

    texts = [turn["value"] for line in demo_rows.open() for turn in json.loads(line)["conversations"]]
    processor = tiny_model.build_processor(texts)
    model = tiny_model.build_model(processor)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layers." in name and weight.ndim == 2:
                weight.mul_(8)
            elif name.endswith("language_model.norm.weight"):
                weight.mul_(16)
        unsaid = [model.config.image_token_id, model.config.video_token_id]
        model.get_input_embeddings().weight[unsaid] = 0
    folder = tmp_path_factory.mktemp("vllm") / "model"
    tiny_model.save(model, processor, folder)
    return folder


@pytest.fixture(scope="session")
def vllm_url(vllm_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """URL of vLLM serving that model, as `make serve` does; `served` has counted a prompt's tokens."""
    from overlay.serve.server import served

    log = tmp_path_factory.mktemp("server") / "log"
    with served(vllm_model, log) as address:
        assert "vllm" in log.read_text().splitlines()[0]
        yield address
