"""Loading a data file: ours (Arrow, cold and from its cache) against upstream's lists, from_list and map.

Upstream's side is a re-statement of the steps of its grpo_jsonl.py main() (read, Dataset.from_list, map with 8
processes), written here because that function cannot be called without loading a model; it is marked so in the output.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from datasets import Dataset

from benchmarks.measure import measure
from overlay.data.dataset import load_dataset

ROWS, BYTES = 40_000, 8_000
TEMPLATE = (
    "{Question} First output the thinking process in <think> </think> tags and then output the final answer in "
    "<answer> </answer> tags."
)


def write_rows(file: Path) -> None:
    """`ROWS` rows of about `BYTES` bytes with two images each, Chinese text in them."""
    text = "<image><image>" + "打开设置并查看网络连接情况。" * (BYTES // 42)
    with open(file, "w", encoding="utf-8") as out:
        for number in range(ROWS):
            turns = [
                {"from": "human", "value": f"{number} {text}"},
                {"from": "gpt", "value": '{"action_type": "wait"}'},
            ]
            row = {"id": number, "image": ["a.png", "b.png"], "conversations": turns}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def ours(file: str, folder: str, cache: str):
    """Our loader on one file."""
    return load_dataset(file, folder, "gui_action", cache)


def upstream(file: str, folder: str):
    """Upstream's steps, re-stated."""
    items = []
    with open(file) as lines:
        for line in lines:
            item = json.loads(line)
            item["image_path"] = [os.path.join(folder, image) for image in item.pop("image")]
            human, gpt = (turn["value"] for turn in item.pop("conversations"))
            item["problem"] = human.replace("<image>", "")
            item["solution"] = gpt.replace("<answer>", "").replace("</answer>", "").strip()
            item["accu_reward_method"] = "default"
            items.append(item)

    def conversation(example):
        assert all(os.path.exists(path) for path in example["image_path"])
        slots = [{"type": "image", "text": None} for _ in example["image_path"]]
        text = {"type": "text", "text": TEMPLATE.format(Question=example["problem"])}
        return {
            "image_path": list(example["image_path"]),
            "problem": example["problem"],
            "solution": f"<answer> {example['solution']} </answer>",
            "accu_reward_method": example["accu_reward_method"],
            "prompt": [{"role": "user", "content": [*slots, text]}],
        }

    return Dataset.from_list(items).map(conversation, num_proc=8)


def main() -> None:
    """Print seconds, added memory and the ratios."""
    folder = Path(tempfile.mkdtemp(prefix="bench-loading-"))
    try:
        file = folder / "rows.jsonl"
        write_rows(file)
        for name in ("a.png", "b.png"):
            (folder / name).touch()
        theirs = measure("benchmarks.loading", "upstream", file, folder)
        cold = measure("benchmarks.loading", "ours", file, folder, folder / "cache")
        warm = measure("benchmarks.loading", "ours", file, folder, folder / "cache")
    finally:
        shutil.rmtree(folder)
    print(f"{ROWS:,} rows of {BYTES:,} bytes; upstream's steps re-stated")
    print(f"{'':10}{'seconds':>10}{'added MB':>10}{'time':>12}{'memory':>12}")
    for name, side in (("upstream", theirs), ("cold", cold), ("warm", warm)):
        time, memory = theirs["seconds"] / side["seconds"], theirs["added"] / max(side["added"], 1)
        print(
            f"{name:10}{side['seconds']:>10.2f}{side['added'] / 1e6:>10.0f}{f'1/{time:.0f}':>12}{f'1/{memory:.0f}':>12}"
        )
