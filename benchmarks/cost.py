"""What a step costs, as a function of nodes, generations and prompt length: fitted to tiny runs, then put to a cluster.

    python -m benchmarks.run cost

Measured here: generation, reference pass and training pass of the patched trainer on a tiny model, over a grid of
completions on a rank, prompt and completion lengths; each is fitted to its terms and checked on points that were left
out. What the terms weigh on a GPU is not measured: `overlay.model.cost` holds the assumptions and the arithmetic.
"""

import contextlib
import io
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datasets import Dataset

from overlay.demo.tiny_model import build_model, build_processor, save
from overlay.model.cost import Cluster, Step, step_seconds
from overlay.patching.submodule import Submodule

ROWS, PROMPTS, COMPLETIONS = (2, 4, 6), (300, 600, 1200), (16, 32, 64)
LEFT_OUT = ((2, 1200, 32), (4, 600, 64), (6, 300, 16))
# Terms of each phase: completions of one prompt on a rank B, prompt length T, completion length C.
TERMS = {
    "generation": lambda b, t, c: (1.0, t, c, b * c),  # prefill of the prompt; C passes over all rows
    "reference pass": lambda b, t, c: (1.0, t, b * c),
    "training pass": lambda b, t, c: (1.0, t, b * c),
}
NAMES = {"generation": "1, T, C, B C", "reference pass": "1, T, B C", "training pass": "1, T, B C"}
SHOWN = (*TERMS, "communication", "judge")
GENERATIONS = 8  # of a prompt, in the prediction
PARAMETERS, TOWER = 8_300_000_000, 680_000_000  # Qwen2.5-VL-7B, and its vision tower, which is frozen


def measured() -> dict[tuple[int, int, int], dict[str, float]]:
    """Seconds of each phase at every point of the grid, on the tiny model (the fastest of three)."""
    points = {}
    with tempfile.TemporaryDirectory(prefix="bench-cost-") as name:
        folder = Path(name)
        Submodule().unpack(folder, "src/open-r1-multimodal/src")
        processor = build_processor(["7\n" * 8])
        save(build_model(processor, width=256, depth=6), processor, folder / "model")
        sys.path.insert(0, str(folder / "src/open-r1-multimodal/src"))
        with contextlib.redirect_stdout(io.StringIO()):
            from open_r1.trainer import GRPOConfig
            from open_r1.vlm_modules import Qwen2VLModule

            from overlay.backends.vlm_r1.trainer import GuiVLMGRPOTrainer

            args = GRPOConfig(
                output_dir=name, per_device_train_batch_size=4, num_generations=2, beta=0.04, use_cpu=True, bf16=False,
                report_to="none", max_steps=1, max_completion_length=max(COMPLETIONS), num_iterations=1,
            )  # fmt: skip
            row = {"prompt": [], "image_path": [], "problem": "", "solution": "", "source": "", "max_pixels": 0}
            trainer = GuiVLMGRPOTrainer(
                model=str(folder / "model"), reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
                args=args, vlm_module=Qwen2VLModule(), train_dataset=Dataset.from_list([row] * 4),
                attn_implementation="sdpa", torch_dtype="float32",
            )  # fmt: skip
        _phases(trainer, ROWS[0], PROMPTS[0], COMPLETIONS[0])  # warm
        for point in itertools.product(ROWS, PROMPTS, COMPLETIONS):
            runs = [_phases(trainer, *point) for _ in range(3)]
            points[point] = {phase: min(run[phase] for run in runs) for phase in TERMS}
            print(f"  {point}: " + ", ".join(f"{phase} {points[point][phase]:.2f} s" for phase in TERMS), flush=True)
    return points


def _phases(trainer: object, rows: int, prompt: int, completion: int) -> dict[str, float]:
    """Seconds of the phases for `rows` text prompts of about `prompt` tokens and completions of `completion`."""
    seconds = dict.fromkeys(TERMS, 0.0)
    message = {"role": "user", "content": [{"type": "text", "text": "7\n" * ((prompt - 12) // 2)}]}
    inputs = [{"prompt": [message], "image_path": [], "source": "", "solution": ""} for _ in range(rows)]
    trainer.num_generations = rows
    config = trainer.generation_config
    config.max_new_tokens = config.min_new_tokens = completion
    generate = trainer.model.generate

    def timed(*args: object, **kwargs: object) -> object:
        start = time.perf_counter()
        result = generate(*args, **kwargs)
        seconds["generation"] += time.perf_counter() - start
        return result

    trainer.model.generate = timed
    trainer.model.train()
    start = time.perf_counter()
    result = trainer._generate_and_score_completions(inputs, trainer.model)
    seconds["reference pass"] = time.perf_counter() - start - seconds["generation"]
    trainer._generate_and_score_completions = lambda *_: result
    start = time.perf_counter()
    trainer.compute_loss(trainer.model, inputs).backward()
    seconds["training pass"] = time.perf_counter() - start
    del trainer._generate_and_score_completions
    trainer.model.generate = generate
    trainer.model.zero_grad()
    return seconds


def fit(points: dict, phase: str) -> tuple[np.ndarray, float]:
    """(weights of the phase's terms, largest relative error at the points that were left out)."""
    used = [point for point in points if point not in LEFT_OUT]
    terms = np.array([TERMS[phase](*point) for point in used])
    seconds = np.array([points[point][phase] for point in used])
    weights, *_ = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(used)), rcond=None)  # relative errors
    errors = [abs(np.dot(TERMS[phase](*p), weights) / points[p][phase] - 1) for p in LEFT_OUT]
    return weights, max(errors)


def main() -> None:
    """Print the fits, and what the model says for clusters."""
    print(f"measured on a tiny model, {len(ROWS) * len(PROMPTS) * len(COMPLETIONS)} points (rows, prompt, completion):")
    points = measured()
    for phase in TERMS:
        weights, error = fit(points, phase)
        print(f"{phase:15} = {' + '.join(f'{w:.2g}' for w in weights)} over ({NAMES[phase]}); "
              f"at {len(LEFT_OUT)} points left out within {error:.0%}")  # fmt: skip
    print("\npredicted, not measured (assumptions: overlay/model/cost.py, Cluster), 8 GPUs a node, completion 256:")
    print("nodes  batch  prompt  judge  " + "  ".join(f"{phase:>14}" for phase in (*SHOWN, "sum", "a completion")))
    for nodes, batch, prompt, judged in (
        (1, 1, 2800, False),
        (1, 8, 2800, False),
        (5, 1, 2800, True),
        (5, 8, 2800, True),
        (5, 8, 8192, True),
    ):
        step = Step(
            nodes, 8, batch, GENERATIONS, prompt, 256, PARAMETERS, PARAMETERS, PARAMETERS - TOWER, judged=judged
        )
        phases = step_seconds(step, Cluster())
        values = [*(phases[phase] for phase in SHOWN), sum(phases.values()), sum(phases.values()) / (nodes * 8 * batch)]
        print(f"{nodes:5}  {batch:5}  {prompt:6}  {judged!s:5}  " + "  ".join(f"{v:12.2f} s" for v in values))


if __name__ == "__main__":
    main()
