"""What a run will take, before anything is taken: steps, tokens, GPU memory by part, disk, hours.

    make estimate     (ESTIMATE=1 bash run_scripts/run_grpo_gui.sh: the same settings, presets and flags as make train)

Prompts are measured on some of the rows with the model's own processor where both are there, else taken as the budget.
Of the model only config.json is read. Seconds are arithmetic with the assumptions of `overlay.model.cost`;
GPU_CHECK=runs/gpu-check/gpu-check.json takes the speeds that `make gpu-check` measured. GPU_MEMORY= the GB of a GPU.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from overlay.errors import Arguments, SettingError, command
from overlay.model.cost import GB, Cluster, checkpoint_bytes, measured_cluster
from overlay.nodes.planned import Run, read

USUAL = 80.0  # GB of a GPU, where there is none to ask
LOGGED = 1500  # bytes of log.jsonl and TensorBoard for a step


def changes(run: Run) -> Iterator[tuple[str, Run]]:
    """Runs that take less of a GPU's memory, the mildest change first, each with what makes it."""
    step = run.step
    if not step.zero:
        yield "DEEPSPEED=run_scripts/zero3.json", replace(run, step=replace(step, zero=True))
    if not step.checkpointing:
        yield "--gradient_checkpointing true", replace(run, step=replace(step, checkpointing=True))
    for batch in (step.batch // 2, step.generations, step.generations // 2, 1):
        if 0 < batch < step.batch and step.world * batch % step.generations == 0:
            yield f"BATCH={batch}", replace(run, step=replace(step, batch=batch))
    if step.reference and not run.adapters:
        yield "--beta 0 (no reference)", replace(run, step=replace(step, reference=False))
    if step.zero:
        for nodes, gpus in ((1, 2), (1, 4), (1, 8), (2, 8), (5, 8)):
            if nodes * gpus > step.world:
                yield f"{nodes * gpus} GPUs", replace(run, step=replace(step, nodes=nodes, gpus=gpus))
    if not run.adapters:
        adapted = replace(step, trainable=16 * run.sizes.adapter, total=step.total + 16 * run.sizes.adapter)
        yield "LORA_R=16", replace(run, step=adapted, adapters=True)
    shorter = replace(step, prompt=run.longest / 2)
    yield "half the prompts' tokens (MAX_PIXELS)", replace(run, step=shorter, longest=run.longest / 2)


def estimate(run: Run, cluster: Cluster, room: float) -> dict[str, Any]:
    """All figures, as JSON holds them; `room`: bytes of a GPU."""
    parts, seconds = run.memory(), run.seconds(cluster)
    saves = max(1, run.steps // run.save_steps)
    kept = min(saves, run.kept) if run.kept else saves
    prompts = run.step.world * run.step.batch * run.step.accumulation // run.step.generations
    fits = sum(parts.values()) <= room
    return {
        "rows": run.rows, "prompt_tokens": {"mean": run.mean, "longest": run.longest, "from": run.lengths},
        "prompts_of_a_step": prompts, "steps": run.steps,
        "completions": run.steps * prompts * run.step.generations,
        "tokens_of_a_step": run.step.world * run.step.accumulation * replace(run.step, prompt=run.mean).tokens,
        "trainable": run.step.trainable, "parameters": run.step.total,
        "memory": parts, "memory_of_a_gpu": room, "fits": fits,
        "disk": {"checkpoint": run.checkpoint, "checkpoints": kept, "model": checkpoint_bytes(
            run.step, run.adapters, model_only=True), "rollouts_at_most": run.rollouts, "logs": LOGGED * run.steps},
        "seconds_of_a_step": seconds, "hours": run.steps * sum(seconds.values()) / 3600, "speeds": asdict(cluster),
        "would_fit": [] if fits else [
            (words, sum(other.memory().values())) for words, other in changes(run)
            if sum(other.memory().values()) <= room
        ],
    }  # fmt: skip


def table(found: dict[str, Any], run: Run, speeds: str) -> str:
    """The figures for people."""
    step, lengths, disk = run.step, found["prompt_tokens"], found["disk"]
    whole = sum(found["memory"].values())
    lines = [
        f"rows               {found['rows']:,}; prompts of {lengths['mean']:,.0f} tokens, the longest "
        f"{lengths['longest']:,.0f} (from {lengths['from']}); completions of up to {run.answer}",
        f"a step             {found['prompts_of_a_step']:,} prompts ({step.nodes} x {step.gpus} processes x batch "
        f"{step.batch} x {step.accumulation} / {step.generations} completions), "
        f"{found['tokens_of_a_step']:,.0f} tokens",
        f"steps              {found['steps']:,}, {found['completions']:,} completions in all",
        f"weights            {found['parameters'] / 1e9:.2f} billion, {found['trainable'] / 1e9:.3f} of them trained",
        "memory of a GPU",
    ]
    lines += [f"  {name:24} {size / GB:8.1f} GB" for name, size in found["memory"].items()]
    verdict = "fits" if found["fits"] else "DOES NOT FIT"
    lines.append(f"  {'together':24} {whole / GB:8.1f} GB of {found['memory_of_a_gpu'] / GB:.0f}: {verdict}")
    lines += [f"  would fit: {words} ({size / GB:.1f} GB)" for words, size in found["would_fit"]]
    if not found["fits"] and not found["would_fit"]:
        lines.append("  no single change makes it fit: a smaller model, or several of BATCH=, LORA_R=, MAX_PIXELS=")
    together = disk["checkpoint"] * disk["checkpoints"] + disk["model"] + disk["rollouts_at_most"] + disk["logs"]
    limit = "" if run.kept else f" (none is deleted: SAVE_LIMIT=2 keeps {2 * disk['checkpoint'] / GB:.1f} GB of them)"
    lines += [
        f"disk               {together / GB:,.1f} GB: {disk['checkpoints']} checkpoints of "
        f"{disk['checkpoint'] / GB:.1f} GB{limit}, the model {disk['model'] / GB:.1f}, "
        f"rollouts at most {disk['rollouts_at_most'] / GB:.2f}, logs "
        f"{disk['logs'] / GB:.2f}",
        f"time               {found['hours']:,.1f} h, {sum(found['seconds_of_a_step'].values()):.2f} s a step: "
        + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in found["seconds_of_a_step"].items() if seconds),
        f"                   {speeds}",
    ]
    return "\n".join(lines)


def _speeds() -> tuple[Cluster, str]:
    file = os.environ.get("GPU_CHECK")
    if not file:
        return Cluster(), "with an H100's speeds assumed; GPU_CHECK= takes those that make gpu-check measured"
    try:
        check = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingError(f"GPU_CHECK={file}: not JSON ({error})") from error
    return measured_cluster(check, Cluster()), f"with the speeds of {file}; the network's are assumed"


def _room() -> float:
    given = os.environ.get("GPU_MEMORY")
    try:
        return float(given) * GB if given else _own() * 1.0
    except ValueError as error:
        raise SettingError(f"GPU_MEMORY={given}: not a number of GB") from error


def _own() -> float:
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else USUAL * GB


@command("estimate")
def main(argv: list[str] | None = None) -> int:
    """Print the estimate; status 1 when it does not fit."""
    argv = sys.argv[1:] if argv is None else argv
    own, line = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="of a node")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args(own)
    room, (cluster, speeds) = _room(), _speeds()
    run = read(line, args.nodes, args.processes)
    found = estimate(run, cluster, room)
    print(table(found, run, speeds))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if found["fits"] else 1


if __name__ == "__main__":
    sys.exit(main())
