"""The log-prob pass: ours against upstream's own method, on two prompts of 3,000 tokens and Qwen2.5's vocabulary.

Upstream's method is the one of its trainer at the pin, which no patch touches. The body has two layers, so that the
ratio is about the pass and not about the model.
"""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.measure import measure
from overlay.backends.vlm_r1.repairs import Repaired
from overlay.patching.submodule import Submodule

PROMPT, COMPLETION, VOCABULARY, BATCH = 3000, 128, 151_936, 2


def upstream_class(source: str) -> type:
    """VLMGRPOTrainer of the unpacked tree `source`."""
    sys.path.insert(0, source)
    from open_r1.trainer import VLMGRPOTrainer

    return VLMGRPOTrainer


def our_class(source: str) -> type:
    """Our subclass of it."""
    upstream_class(source)
    from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer

    return GuiVLMGRPOTrainer


def prepare(source: str, *_: str) -> None:
    """Import both sides before the clock starts."""
    our_class(source)


def _pass(cls: type, prompt: int) -> torch.Tensor:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    ids = torch.randint(VOCABULARY, (BATCH, prompt + COMPLETION))
    accelerator = SimpleNamespace(unwrap_model=lambda wrapped: wrapped)
    args = SimpleNamespace(temperature=1.0)
    trainer = SimpleNamespace(accelerator=accelerator, args=args)
    more = {"prompt_length": prompt} if issubclass(cls, Repaired) else {}
    with torch.no_grad():
        log_probs = cls._get_per_token_logps(trainer, model, ids, torch.ones_like(ids), **more)
    return log_probs[:, prompt - 1 :]


def theirs(source: str, out: str, prompt: int = PROMPT) -> torch.Tensor:
    """Upstream's method; the completion's log-probs are kept in `out`."""
    return _kept(_pass(upstream_class(source), int(prompt)), out)


def ours(source: str, out: str, prompt: int = PROMPT) -> torch.Tensor:
    """Our subclass's method."""
    return _kept(_pass(our_class(source), int(prompt)), out)


def _kept(log_probs: torch.Tensor, out: str) -> torch.Tensor:
    torch.save(log_probs, out)
    return log_probs


def main() -> None:
    """Print seconds, peak memory beyond a process that only imports, the ratios and the largest difference."""
    with tempfile.TemporaryDirectory(prefix="bench-logprobs-") as name:
        folder = Path(name)
        Submodule().unpack(folder, "src/open-r1-multimodal/src")
        source = folder / "src" / "open-r1-multimodal" / "src"
        base = measure("benchmarks.logprobs", "ours", source, folder / "base.pt", 1)["peak"]
        upstream = measure("benchmarks.logprobs", "theirs", source, folder / "theirs.pt")
        mine = measure("benchmarks.logprobs", "ours", source, folder / "ours.pt")
        first, second = torch.load(folder / "theirs.pt"), torch.load(folder / "ours.pt")
    print(f"{BATCH} prompts of {PROMPT:,} tokens, completion {COMPLETION}, vocabulary {VOCABULARY:,}, two layers")
    print(
        f"upstream {upstream['seconds']:6.1f} s {(upstream['peak'] - base) / 1e9:6.2f} GB beyond a prompt of one token"
    )
    print(f"ours     {mine['seconds']:6.1f} s {(mine['peak'] - base) / 1e9:6.2f} GB")
    print(
        f"time 1/{upstream['seconds'] / mine['seconds']:.0f}, memory "
        f"1/{(upstream['peak'] - base) / max(mine['peak'] - base, 1e6):.0f}, largest relative difference "
        f"{((first - second) / first).abs().max():.0e}"
    )
