"""Rows as the steps of tasks."""

import json

from overlay.data.dataset import load_dataset
from overlay.data.tasks import episodes_of


def row(wanted, step, **more):
    fields = {"task_content": wanted, "history_path_all": [f"did {n}" for n in range(1, step)]}
    turns = [{"from": "human", "value": "t\n" + json.dumps(fields)}, {"from": "gpt", "value": "1"}]
    return {"image": [], "conversations": turns, **more}


def test_episodes_are_tasks_in_the_order_of_their_steps(tmp_path):
    """In any order in the file, with a step that no row says; what stands twice is an episode of its own."""
    rows = [row("a", 4), row("b", 1), row("a", 1), row("a", 2), row("a", 1), row("b", 1, task="other"), row("b", 2)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    data = load_dataset(str(file), str(tmp_path), cache_dir=tmp_path / "arrow")
    found = episodes_of(data, str(file), str(tmp_path))
    assert found == [[(2, 1), (3, 2), (0, 4)], [(1, 1), (6, 2)], [(4, 1)], [(5, 1)]]
