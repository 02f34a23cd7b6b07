"""Run VLM-R1's stock grpo_jsonl.py on the demo's rows, as a user's launcher does.

Shared by the tests of today's stack and of upstream's own pins, so nothing newer than those is imported here.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TASKS = ROOT / "data_prep" / "miniwob" / "tasks"
ZERO3 = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0,
                          "stage3_gather_16bit_weights_on_model_save": True},
    "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}  # fmt: skip


def stock_command(upstream, model, data, out, cpu=True, **flags):
    """(command line of the stock script after `python`, the environment's variables that it needs)."""
    values = {
        "model_name_or_path": model, "dataset_name": "none", "data_file_paths": data,
        "image_folders": TASKS / "train", "arrow_cache_dir": out.parent / "arrow", "task_type": "gui",
        "reward_funcs": ["accuracy", "format_graded"], "reward_method": "gui_action", "num_generations": 2,
        "per_device_train_batch_size": 4, "max_completion_length": 24, "max_steps": 2, "attn_implementation": "sdpa",
        "torch_dtype": "float32", "bf16": "false", "report_to": "none", "max_pixels": 84 * 112, "min_pixels": 784,
        "logging_steps": 1, "output_dir": out, "learning_rate": 1e-3,
    } | flags  # fmt: skip
    values.setdefault("save_steps", values["max_steps"])
    line = [
        part
        for name, value in values.items()
        for part in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]
    paths = f"{ROOT / 'tests' / 'gloo'}:{upstream / 'src'}:{ROOT}"
    return ["src/open_r1/grpo_jsonl.py", *line, *(["--use_cpu"] if cpu else [])], {"PYTHONPATH": paths}


def run_stock(upstream, model, data, out, processes=2, cpu=True, variables=None, forks=None, **flags):
    """Run the stock script on two ranks; returns the trainer's log history. `variables`: of the environment; `forks`:
    the ForkServer (tests.ranks) to fork the ranks from, else they are torchrun's, in fresh interpreters."""
    command, own = stock_command(upstream, model, data, out, cpu, **flags)
    own |= variables or {}
    if forks:
        done = forks.run(command, out.with_name(f"{out.name}.log"), processes, variables=own, folder=upstream)
        assert done.statuses == [0] * processes, done.err[:8000]
    else:
        torchrun = [
            str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", str(processes), "--master_port", "0",
            "--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0",
        ]  # fmt: skip
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | own
        done = subprocess.run(
            [*torchrun, *command], cwd=upstream, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[:8000]  # a refusal is one line before torchrun's own traceback
    last = out / f"checkpoint-{flags.get('max_steps', 2)}"
    return json.loads((last / "trainer_state.json").read_text())["log_history"]


def healthy(log, steps=2):
    losses = [entry["loss"] for entry in log if "loss" in entry]
    return (
        len(losses) == steps
        and all(map(math.isfinite, losses))
        and all("kl" in entry for entry in log if "loss" in entry)
    )
