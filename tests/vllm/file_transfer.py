"""New weights for a server by a file, where vLLM has NCCL only: the rest of server mode runs on a CPU as it is.

vLLM imports this module in its workers (`--worker-extension-cls tests.vllm.file_transfer.Extension`): that enters the
engine `file`, and leaves linear layers unpacked, as `tests.vllm.engine` does. `by_file` is the trainer's side.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers import utils

from tests.vllm.engine import plain_linear

utils.dispatch_cpu_unquantized_gemm = plain_linear


@dataclass
class Nothing(WeightTransferInitInfo):
    """There is nothing to agree on."""


@dataclass
class File(WeightTransferUpdateInfo):
    """`path`: a file of all weights under their names, in safetensors' format."""

    path: str


class FileEngine(WeightTransferEngine):
    """Loads what the trainer has written."""

    init_info_cls, update_info_cls = Nothing, File

    def init_transfer_engine(self, init_info: Nothing) -> None: ...

    def start_weight_update(self) -> None: ...

    def receive_weights(self, update_info: File) -> None:
        self.model.load_weights(list(load_file(update_info.path).items()))

    def finish_weight_update(self) -> None: ...

    def shutdown(self) -> None: ...


class Extension:
    """Mixed into vLLM's worker; it is here for the import."""


if "file" not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine("file", FileEngine)


def by_file(monkeypatch: Any, folder: Path) -> None:
    """TRL's client hands weights over in files; the announcements over HTTP are its own."""
    from trl.generation.vllm_client import VLLMClient

    def init(self: Any, device: Any) -> None:
        assert self.get_server_info()["weight_transfer_config"]["backend"] == "file"
        self._post(f"{self.base_url}/init_weight_transfer_engine", json={"init_info": {}})

    def update(self: Any, metadata: list, named: Any) -> None:
        path = folder / "weights.safetensors"
        save_file({name: weight.detach().contiguous().clone() for name, weight in named}, path)
        self._start_weight_update()
        self._post(f"{self.base_url}/update_weights", json={"update_info": {"path": str(path)}})
        self._finish_weight_update()

    monkeypatch.setattr(VLLMClient, "init_communicator", init)
    monkeypatch.setattr(VLLMClient, "update_named_params", update)
