"""What a training step takes: seconds, GPU memory by part, disk. Arithmetic only; nothing is measured here.

The terms of the seconds were fitted to tiny runs (`python -m benchmarks.run cost`), a layer's bytes are those that
autograd keeps (`tests/model/test_cost.py`); what they weigh on a GPU is assumed in `Cluster`, or measured by
`make gpu-check`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from overlay.errors import SettingError
from overlay.model.sizes import Sizes

CHUNK = 1024  # tokens whose logits are there at once (overlay.model.logprobs; TRL's fused head is no worse)
LIVE = 1_000_000_000  # parameters that ZeRO-3 has together in a pass (stage3_max_live_parameters)
GB = 1e9


@dataclass(frozen=True)
class Cluster:
    """Assumptions about a GPU and its network; none of them was measured here."""

    flops: float = 989e12  # bf16, H100 SXM
    used: float = 0.35  # share of them that a dense pass reaches
    memory: float = 3.35e12  # bytes/s
    memory_used: float = 0.5  # share of it while decoding one sequence with transformers' generate
    network: float = 25e9  # bytes/s between nodes, for each GPU (8 x 200 Gb/s cards)
    inside: float = 250e9  # bytes/s between GPUs of a node
    judge_latency: float = 1.0  # seconds for one verdict
    judge_concurrency: int = 64  # of the whole run

    @property
    def dense(self) -> float:
        """Operations a second in a dense pass."""
        return self.flops * self.used

    @property
    def decoding(self) -> float:
        """Bytes of weights a second while decoding."""
        return self.memory * self.memory_used


@dataclass(frozen=True)
class Step:
    """One step: `batch` completions on each of nodes x gpus, prompts and completions in tokens, weights in all, those
    that a token passes, and those that are trained."""

    nodes: int
    gpus: int
    batch: int
    generations: int
    prompt: float
    completion: float
    total: int
    active: int
    trainable: int
    accumulation: int = 1
    shared: bool = True  # a group's prompt is computed once
    reference: bool = True  # a pass of a reference model
    old: bool = False  # a pass for the old log-probs: batches that are used twice
    checkpointing: bool = True  # layers are computed again in backward
    zero: bool = True  # ZeRO-3, else plain data parallelism in 32 bits
    judged: bool = False

    @property
    def world(self) -> int:
        """Processes."""
        return self.nodes * self.gpus

    @property
    def prompts(self) -> int:
        """Prompts on a GPU: fewer completions than a group still need theirs."""
        return max(1, self.batch // self.generations) if self.shared else self.batch

    @property
    def tokens(self) -> float:
        """Tokens of a pass on a GPU."""
        return self.prompts * self.prompt + self.batch * self.completion


def step_seconds(step: Step, cluster: Cluster) -> dict[str, float]:
    """Seconds of each phase of one step, frozen vision tower."""
    link = cluster.inside if step.nodes == 1 else cluster.network
    pass_ = 2 * step.active * step.tokens / cluster.dense
    # Forward, its repetition, backward to the layers' inputs and to their weights.
    passes = 2 + step.checkpointing + step.trainable / step.total
    weights = 2 * step.total
    # ZeRO-3: weights gathered for generation, reference, forward and backward; gradients scattered once.
    gathered = (3 + step.reference + 1) * weights if step.zero else 2 * 4 * step.trainable / step.accumulation
    answers = step.world * step.batch
    phases = {
        "generation": 2 * step.active * step.prompts * step.prompt / cluster.dense
        + step.completion * 2 * step.active / cluster.decoding,
        "reference pass": pass_ if step.reference else 0.0,
        "old pass": pass_ if step.old else 0.0,
        "training pass": passes * pass_,
        "communication": gathered * (step.world - 1) / step.world / link,
        "judge": -(-answers // cluster.judge_concurrency) * cluster.judge_latency if step.judged else 0.0,
    }
    return {phase: seconds * step.accumulation for phase, seconds in phases.items()}


def measured_cluster(check: Mapping[str, Any], cluster: Cluster) -> Cluster:
    """The cluster with the speeds that a gpu-check.json measured. SettingError for one that lacks what is needed."""
    try:
        parameters, shapes = check["parameters"], check["shapes"]
        update = check["forward and backward"]["packed, features kept"]
        generation = check["generation"]["prefilled once"]
        dense = 8 * parameters * update["tokens"] / update["seconds"]
        prefill = 2 * parameters * (update["tokens"] - shapes["group"] * shapes["completion"]) / dense
        decoding = 2 * parameters * shapes["completion"] / (generation["seconds"] - prefill)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise SettingError(f"this gpu-check.json does not say {error}: make it anew with make gpu-check") from error
    if not (dense > 0 and decoding > 0):
        raise SettingError("this gpu-check.json has no speeds that can be: make it anew with make gpu-check")
    return replace(cluster, flops=dense, used=1.0, memory=decoding, memory_used=1.0)


def layer_bytes(sizes: Sizes) -> int:
    """Bytes a token that a text layer keeps for backward in 16 bits."""
    return 20 * sizes.hidden + 4 * sizes.kv + 8 * sizes.intermediate


def memory(step: Step, sizes: Sizes, adapters: bool, longest: float, answer: int) -> dict[str, float]:
    """Bytes by part on one GPU at the peak: what stays, and the larger of generation and update. `longest`: tokens of
    the longest prompt, `answer`: of the longest completion."""
    share = step.world if step.zero else 1
    width, kept = (2, 12) if step.zero else (4, 8)  # of a weight; of the optimizer, with 32-bit weights in ZeRO-3
    trained = step.trainable
    stays = {
        "weights": width * step.total / share,
        "reference": width * step.total / share if step.reference and not adapters else 0.0,
        "gradients": width * trained / share,
        "optimizer": kept * trained / share,
    }
    tokens = step.prompts * longest + step.batch * answer
    layer, states = layer_bytes(sizes), 2 * sizes.hidden
    repeated = states * sizes.layers + layer if step.checkpointing else layer * sizes.layers
    update = {
        "gathered weights": 2 * min(step.total, LIVE) if step.zero else 2 * trained,  # autocast's copies of 16 bits
        "activations": tokens * (repeated + 6 * sizes.intermediate + 4 * sizes.hidden),
        "logits": 16 * min(CHUNK, step.batch * answer) * sizes.vocabulary,
        "cache of generation": 0.0,
    }
    generation = {
        "gathered weights": 2 * step.total if step.zero and step.world > 1 else 0.0,
        "activations": step.prompts * longest * (6 * sizes.intermediate + 8 * sizes.hidden),
        "logits": 8 * step.batch * sizes.vocabulary,
        "cache of generation": 4 * sizes.kv * sizes.layers * step.batch * (longest + answer),
    }
    peak = max(update, generation, key=lambda phase: sum(phase.values()))
    found = stays | peak
    return found | {"CUDA, kernels, fragments": 2 * GB + 0.08 * sum(found.values())}


def checkpoint_bytes(step: Step, adapters: bool, synced: bool = False, model_only: bool = False) -> float:
    """Bytes of one checkpoint: the model as it is saved, the optimizer's state, a reference that follows."""
    width = 2 if step.zero else 4
    model = width * (step.trainable if adapters else step.total)
    optimizer = 0 if model_only else (14 if step.zero else 8) * step.trainable
    return model + optimizer + (width * step.total if synced else 0)
