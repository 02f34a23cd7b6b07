"""The packed pass under ZeRO-3 on several processes: is it still exact, how fast is it. `make gpu-check` runs it where
there are several GPUs.

    torchrun --nproc_per_node 2 -m benchmarks.gpu_zero3 --out zero3.json [--tiny | --model FOLDER]

Every rank has the same batch, so the mean of the ranks' gradients is that of one, which each computes before the model
is cut up.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_check
from overlay.errors import Arguments, UserError
from overlay.model.features import ImageFeatures
from overlay.model.packing import Rows
from overlay.model.shared_attention import install
from overlay.model.vision import freeze_vision

CONFIG = {
    "train_micro_batch_size_per_gpu": 1, "bf16": {"enabled": True}, "zero_allow_untested_optimizer": True,
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
}  # fmt: skip
WATCHED = "self_attn.q_proj.weight"  # gradients of the first and the last of these are compared


class RanksFailed(UserError, RuntimeError):
    """The ranks ended with an error of their own, which stands above."""

    status = 1


def start(ranks: int, model: str | None, tiny: bool, out: Path) -> dict[str, Any]:
    """Run the check on so many processes of this machine; its figures."""
    file = out / "zero3.json"
    file.unlink(missing_ok=True)
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--rdzv_backend", "c10d",
            "--rdzv_endpoint", "127.0.0.1:0", "-m", "benchmarks.gpu_zero3", "--out", str(file)]  # fmt: skip
    line += [*(["--model", model] if model else []), *(["--tiny"] if tiny else [])]
    if subprocess.run(line, stdout=2).returncode or not file.is_file():
        raise RanksFailed(f"ZeRO-3 on {ranks} processes failed, see above")
    return json.loads(file.read_text())


def check(model: Any, shapes: dict[str, Any], ranks: int) -> dict[str, Any]:
    """Figures of this rank; the model is cut up afterwards."""
    import deepspeed
    from deepspeed.utils import safe_get_full_grad

    install()
    freeze_vision(model)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs, kept = gpu_check.batch(model, shapes), shapes["completion"]
    features = ImageFeatures(model, lambda known: False)
    watched = [parameter for name, parameter in model.named_parameters() if name.endswith(WATCHED)]
    watched = [watched[0], watched[-1]]
    whole = gpu_check.shared(model, features, inputs, kept)
    whole.mean().backward()
    expected = [parameter.grad.float().clone() for parameter in watched]
    model.zero_grad(set_to_none=True)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    engine = deepspeed.initialize(model=model, optimizer=torch.optim.SGD(learning, lr=0.0), config=CONFIG)[0]

    def passes() -> torch.Tensor:
        values = gpu_check.shared(model, features, inputs, kept, engine)
        engine.backward(values.mean())
        return values.detach()

    values = passes()
    gradients = [safe_get_full_grad(parameter).float() for parameter in watched]
    engine.step()

    def work() -> None:
        passes()
        engine.step()

    seconds, peak = gpu_check.timed(work, model.device)
    tokens = Rows(model, **inputs, kept=kept).pack().tokens
    apart = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, expected, strict=True)]
    return {
        "ranks": ranks, "log_probs_apart": gpu_check._apart(values, whole.detach()), "gradients_apart": max(apart),
        "seconds": seconds, "tokens_per_second": ranks * tokens / seconds,
        "completions_per_second": ranks * shapes["group"] / seconds, "peak_gb": peak / 1e9,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    apart = found["log_probs_apart"]
    return (
        f"\nZeRO-3, {found['ranks']} processes           against one process: log-probs mean {apart['mean']:.1e}, "
        f"largest {apart['largest']:.1e}; gradients {found['gradients_apart']:.1e} of the largest\n"
        f"forward, backward, step  {found['seconds']:8.3f} s, {found['tokens_per_second']:,.0f} tokens/s, "
        f"{found['completions_per_second']:.2f} completions/s, {found['peak_gb']:.2f} GB a process"
    )


def main(argv: list[str] | None = None) -> int:
    """One rank."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    import deepspeed

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo")
    model, shapes = gpu_check.model_and_shapes(args.model, args.tiny, device)
    found = check(model, shapes, int(os.environ["WORLD_SIZE"]))
    if os.environ["RANK"] == "0":
        args.out.write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
