"""docs/soak.png: memory, open files and sizes of files over a run of many steps on a tiny model.

    python -m tools.soak FOLDER [--steps 3000] [--backends trl vlm-r1]      runs, samples, draws FOLDER/soak.png

Each backend's samples stay in FOLDER/<backend>.csv and are drawn again without a run: step, resident megabytes, open
files, kilobytes of the newest checkpoint's state file, of log.jsonl, of the rollouts. Two rows of each are printed.
"""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from data_prep.convert import convert
from overlay.checks import at_least, writable_folder
from overlay.demo import tiny_model
from overlay.errors import Arguments, command
from overlay.patching.submodule import Submodule
from overlay.prompt.template import load_template
from overlay.training.checkpoints import last_checkpoint

ROOT = Path(__file__).parents[1]
TASKS = ROOT / "data_prep" / "miniwob" / "tasks" / "train"
COLUMNS = ("step", "memory (MB)", "open files", "trainer_state.json (kB)", "log.jsonl (kB)", "rollouts (kB)")
EVERY = 1.0  # seconds between samples


def prepare(folder: Path) -> tuple[Path, Path]:
    """(rows, model folder), made once."""
    rows, model = folder / "rows.jsonl", folder / "model"
    if not model.exists():
        convert(TASKS, rows, load_template("zh"), decode=False)
        texts = [turn["value"] for line in rows.open(encoding="utf-8") for turn in json.loads(line)["conversations"]]
        processor = tiny_model.build_processor(texts)
        tiny_model.save(tiny_model.build_model(processor, width=64, depth=2), processor, model)
    return rows, model


def start(backend: str, folder: Path, steps: int) -> subprocess.Popen:
    """One training process."""
    rows, model = prepare(folder)
    line = [
        "--model_name_or_path", model, "--data_file_paths", rows, "--image_folders", TASKS, "--task_type", "gui",
        "--reward_funcs", "accuracy", "format_scaled", "--reward_method", "gui_action",
        "--output_dir", folder / backend, "--arrow_cache_dir", folder / "arrow", "--logging_steps", 1,
        "--max_pixels", 84 * 112, "--min_pixels", 784, "--num_generations", 2,
        "--per_device_train_batch_size", 2, "--max_completion_length", 4, "--num_iterations", 2, "--beta", 0.04,
        "--max_steps", steps, "--save_steps", 20, "--save_total_limit", 2, "--rollout_log_mb", 0.2,
        "--report_to", "none", "--use_cpu", "true", "--bf16", "false", "--learning_rate", "1e-4",
    ]  # fmt: skip
    program, paths, cwd = ["-m", "overlay.backends.trl.train"], [str(ROOT)], ROOT
    if backend == "vlm-r1":
        upstream = folder / "vlm-r1-code" / "src" / "open-r1-multimodal"
        if not upstream.exists():
            Submodule().unpack(folder / "vlm-r1-code", "src/open-r1-multimodal")
        program = [str(upstream / "src/open_r1/grpo_jsonl.py"), "--dataset_name", "none", "--torch_dtype", "float32"]
        program += ["--attn_implementation", "sdpa"]
        paths, cwd = [str(upstream / "src"), *paths], upstream
    own = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with open(folder / f"{backend}.log", "w") as log:
        words = [sys.executable, *program, *map(str, line)]
        return subprocess.Popen(words, cwd=cwd, env=os.environ | own, stdout=log, stderr=log)


def sample(pid: int, run: Path) -> tuple[float, ...] | None:
    """One row of COLUMNS, or None before the first checkpoint and after the end."""
    newest = last_checkpoint(str(run))
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
        memory = int(status.split("VmRSS:")[1].split()[0]) / 1024
        state = os.path.getsize(Path(str(newest), "trainer_state.json")) / 1024
        rollouts = sum(file.stat().st_size for file in (run / "rollouts").iterdir()) / 1024
        return (
            int(str(newest).rsplit("-", 1)[1]),
            memory,
            files,
            state,
            (run / "log.jsonl").stat().st_size / 1024,
            rollouts,
        )
    except (OSError, IndexError, ValueError):
        return None


def run(backend: str, folder: Path, steps: int) -> list[tuple[float, ...]]:
    """Train, and sample until the end; what was sampled before, where there is that. RuntimeError when it failed."""
    kept = folder / f"{backend}.csv"
    if kept.is_file():
        with open(kept, encoding="utf-8") as file:
            return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    process, rows = start(backend, folder, steps), []
    while process.poll() is None:
        row = sample(process.pid, folder / backend)
        if row is not None and (not rows or row[0] > rows[-1][0]):
            rows.append(row)
        time.sleep(EVERY)
    if process.returncode:
        raise RuntimeError(f"{backend} ended with status {process.returncode}: {folder / backend}.log")
    with open(kept, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return rows


def draw(samples: dict[str, list[tuple[float, ...]]], out: Path) -> None:
    """A panel for each column, a line for each backend."""
    figure, panels = plt.subplots(1, len(COLUMNS) - 1, figsize=(15, 2.6), layout="constrained")
    for number, (panel, name) in enumerate(zip(panels, COLUMNS[1:], strict=True), 1):
        for backend, rows in samples.items():
            panel.plot([row[0] for row in rows], [row[number] for row in rows], label=backend, linewidth=1)
        panel.set(title=name, xlabel="step", ylim=(0, None))
        panel.title.set_fontsize(9)
    panels[0].legend()
    figure.savefig(out, dpi=110)


@command("soak")
def main(argv: list[str] | None = None) -> int:
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--backends", nargs="+", choices=["trl", "vlm-r1"], default=["trl", "vlm-r1"])
    args = parser.parse_args(argv)
    at_least(args, steps=10)
    writable_folder(args.folder, "FOLDER")
    folder = args.folder.resolve()
    samples = {backend: run(backend, folder, args.steps) for backend in args.backends}
    draw(samples, folder / "soak.png")
    for backend, rows in samples.items():
        for row in (rows[len(rows) // 10], rows[-1]):
            print(backend, {name: round(value, 1) for name, value in zip(COLUMNS, row, strict=True)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
