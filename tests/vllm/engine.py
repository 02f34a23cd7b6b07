"""One colocated engine for all of a session's runs: each run hands over its weights before it generates, so an engine
may be used again. Only for a CPU: its packed linear layers, which take no new weights, are torch's own here."""

from pathlib import Path
from typing import Any

import torch

ENGINES: dict[tuple, Any] = {}


def forget() -> None:
    """End all engines: the end of one takes vLLM's groups from those beside it in the process."""
    for engine in ENGINES.values():
        engine.llm_engine.engine_core.shutdown()
    ENGINES.clear()


def unchanged_engine(monkeypatch: Any) -> None:
    """TRL's LLM as it is, to be ended by `forget`."""
    from trl.generation import vllm_generation
    from vllm import LLM

    def make(**settings: Any) -> Any:
        ENGINES["own",] = LLM(**settings | {"enforce_eager": True})
        return ENGINES["own",]

    monkeypatch.setattr(vllm_generation, "LLM", make)


def plain_linear(layer: Any, remove_weight: bool = False) -> None:
    layer.cpu_linear = torch.nn.functional.linear


def shared_engine(monkeypatch: Any) -> None:
    """TRL's LLM is made once for each dtype and processor; every run hands over its own weights."""
    from trl.generation import vllm_generation
    from vllm import LLM
    from vllm.model_executor.layers import utils

    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", plain_linear)

    def make(**settings: Any) -> Any:
        key = settings["dtype"], Path(settings["model"], "processor_config.json").read_text()
        if key not in ENGINES:
            ENGINES[key] = LLM(**settings | {"enforce_eager": True, "max_num_seqs": 32})
        return ENGINES[key]

    monkeypatch.setattr(vllm_generation, "LLM", make)
