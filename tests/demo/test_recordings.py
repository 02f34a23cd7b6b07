"""Faulty recordings: what is changed of them, and what is not."""

import json
import random

from overlay.action.action import as_box, parse_action
from overlay.demo.recordings import loosened, write_recordings
from overlay.prompt.template import step_input


def rows(file):
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def test_loose_boxes_keep_about_their_place():
    """Each edge by a unit of 28 pixels; never out of the screen, never without area; other actions as they are."""
    action = {"action_type": "click", "action_parameter": {"click": "0,560,28,588"}, "action_description": "x"}
    rng, seen = random.Random(0), set()
    for _ in range(300):
        box = as_box(parse_action(loosened(json.dumps(action), rng)).coordinates)
        assert all(abs(edge - was) in (0, 28) for edge, was in zip(box, (0, 560, 28, 588), strict=True))
        assert 0 <= box[0] < box[2] <= 448
        assert 0 <= box[1] < box[3] <= 672
        seen.add(box)
    assert len(seen) > 10
    done = '{"action_type": "task_completed", "action_parameter": {"task_completed": "done"}}'
    assert loosened(done, rng) == done


def test_only_steps_before_a_plans_last_end_early(phone_file, tmp_path):
    before = rows(phone_file)
    for early, loose in ((0.0, False), (1.0, False), (0.0, True)):
        found, changed = write_recordings(phone_file, tmp_path / "out.jsonl", early, loose)
        assert found > 100
        assert changed == (found if early else 0)
        moved = 0
        for was, now in zip(before, rows(tmp_path / "out.jsonl"), strict=True):
            step = step_input(was["conversations"][0]["value"])[1]
            last_but_one = len(step["history_path_all"]) == len(step["task_path"]) - 2
            golds = [parse_action(row["conversations"][1]["value"]) for row in (was, now)]
            assert now["conversations"][0] == was["conversations"][0]
            assert '"action_validation"' in now["thinking"]
            if early:
                assert (golds[1].type == "task_completed") is (last_but_one or golds[0].type == "task_completed")
            else:
                assert golds[0].type == golds[1].type
            moved += golds[0].coordinates != golds[1].coordinates and golds[0].type == golds[1].type
        assert (moved > 100) is loose
