"""One colocated engine for all of a session's runs: each run hands over its weights before it generates, so an engine
may be used again. Only for a CPU: its packed linear layers, which take no new weights, are torch's own here."""

from typing import Any

import torch

ENGINES: dict[tuple, Any] = {}


def plain_linear(layer: Any, remove_weight: bool = False) -> None:
    layer.cpu_linear = torch.nn.functional.linear


def shared_engine(monkeypatch: Any) -> None:
    """TRL's LLM is made once for each model, dtype and number of sequences."""
    from trl.generation import vllm_generation
    from vllm import LLM
    from vllm.model_executor.layers import utils

    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", plain_linear)

    def make(**settings: Any) -> Any:
        key = settings["model"], settings["dtype"]
        if key not in ENGINES:
            ENGINES[key] = LLM(**settings | {"enforce_eager": True, "max_num_seqs": 32})
        return ENGINES[key]

    monkeypatch.setattr(vllm_generation, "LLM", make)
