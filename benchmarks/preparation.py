"""Preparing task folders: steps each second and peak memory, for 10,000 and for 100,000 steps of two images."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.measure import measure
from overlay.action.action import ACTION_NAMES

STEPS_A_TASK, TASKS_A_FILE = 10, 1000


def write_tasks(root: Path, steps: int) -> None:
    """`steps` steps in tasks of ten; every step has two screens of 1080 x 2400 (hard links to few JPEGs)."""
    root.mkdir(parents=True)
    screen = root / "screen.jpg"
    Image.effect_noise((1080, 2400), 20).convert("RGB").save(screen, quality=30)
    for task in range(steps // STEPS_A_TASK):
        folder = root / str(task)
        folder.mkdir()
        if task % TASKS_A_FILE == 0:  # a file can only have so many links
            screen = Path(shutil.copy(screen, root / f"screen_{task}.jpg"))
        for shot in range(STEPS_A_TASK + 1):
            os.link(screen, folder / f"{task}_{shot}.jpg")
        for step in range(1, STEPS_A_TASK + 1):
            record = {
                "input": {
                    "task_content": f"打开应用{task}并完成第{step}步",
                    "task_path": {str(i): f"第{i}步" for i in range(1, STEPS_A_TASK + 1)},
                    "screen_path1": f"{task}_{step - 1}.jpg",
                    "screen_path2": f"{task}_{step}.jpg",
                    "history_path_all": [f"第{i}步" for i in range(1, step)],
                    "app_name": "设置",
                    "action_type_list": ACTION_NAMES,
                },
                "output": {
                    "action_type": "click",
                    "action_parameter": {"click": "37,378,227,633"},
                    "action_description": "点击",
                },
            }
            (folder / f"step_{step}.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


def prepare(root: str, out: str) -> range:
    """`make data` with the header check, on every core."""
    from data_prep.convert import convert
    from overlay.prompt.template import load_template

    rows, _ = convert(Path(root), Path(out), load_template("zh"), workers=os.cpu_count(), decode=False)
    return range(rows)


def main() -> None:
    """Print seconds and peak memory for both sizes."""
    folder = Path(tempfile.mkdtemp(prefix="bench-preparation-"))
    try:
        for steps in (10_000, 100_000):
            write_tasks(folder / str(steps), steps)
            side = measure("benchmarks.preparation", "prepare", folder / str(steps), folder / f"{steps}.jsonl")
            print(
                f"{steps:>8,} steps of two images, header check: {side['seconds']:6.1f} s, "
                f"{steps / side['seconds']:8,.0f} steps/s, peak {side['peak'] / 1e6:.0f} MB"
            )
    finally:
        shutil.rmtree(folder)
