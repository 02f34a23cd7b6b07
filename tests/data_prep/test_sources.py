"""Each published format, as a tiny sample made here in that format, through the converter and on into rows."""

import gzip
import json
import struct
from io import BytesIO

import pytest
from PIL import Image
from tfrecord import example_pb2

from data_prep.convert import convert as to_rows
from data_prep.sources.__main__ import convert, main
from data_prep.sources.common import Report, point, scroll
from overlay.data.rows import parse_row
from overlay.errors import SourceError
from overlay.prompt.template import load_template

SIZE = (200, 400)


def png(size=SIZE, shade=200):
    out = BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(out, "PNG")
    return out.getvalue()


def write_records(file, *examples):
    """A GZIP TFRecord file: length, its CRC, data, its CRC (the reader looks at no CRC)."""
    with gzip.open(file, "wb") as out:
        for features in examples:
            example = example_pb2.Example()
            for name, values in features.items():
                feature = example.features.feature[name]
                kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
                getattr(feature, kind).value.extend(values)
            data = example.SerializeToString()
            out.write(struct.pack("<Q", len(data)) + b"\0" * 4 + data + b"\0" * 4)


@pytest.fixture
def golds(tmp_path):
    """Function (source, path) → (gold actions by task and step, inputs, report), through the tree and the rows."""

    def run(source, path):
        report = convert(source, path, tmp_path / "tasks")
        to_rows(tmp_path / "tasks", tmp_path / "rows.jsonl", load_template("en"), "en")
        rows = [parse_row(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        files = sorted((tmp_path / "tasks").glob("*/step_*.json"), key=lambda p: (int(p.parent.name), p.name))
        steps = [json.loads(file.read_text()) for file in files]
        assert [row["solution"] for row in rows] == [json.dumps(s["output"], ensure_ascii=False) for s in steps]
        said = [next(iter(step["output"]["action_parameter"].items())) for step in steps]
        return said, [step["input"] for step in steps], report

    return run


def test_android_control(golds, tmp_path):
    actions = [
        {"action_type": "open_app", "app_name": "Clock"}, {"action_type": "click", "x": 100, "y": 200},
        {"action_type": "scroll", "direction": "down"}, {"action_type": "navigate_home"},
        {"action_type": "input_text", "text": "07:30"}, {"action_type": "wait"}, {"action_type": "navigate_back"},
        {"action_type": "long_press", "x": 199, "y": 399},
    ]  # fmt: skip
    words = ["Open Clock", "Tap alarm", "Scroll", "Go home", "Type", "Wait", "Back", "Back"]
    write_records(tmp_path / "android_control-00000-of-00020", {
        "episode_id": [7], "goal": [b"Set an alarm"], "screenshots": [png(shade=n) for n in range(len(actions) + 1)],
        "actions": [json.dumps(action).encode() for action in actions],
        "step_instructions": [word.encode() for word in words],
    })  # fmt: skip
    said, inputs, report = golds("androidcontrol", tmp_path / "android_control-00000-of-00020")
    assert said == [
        ("open_app", "Clock"), ("click", "94,188,106,212"),
        ("swipe", "100,280,100,120"),  # the content goes on below: the finger moves up
        ("type", "07:30"), ("wait", ""), ("back", ""), ("long_click", "193,387,200,400"), ("task_completed", ""),
    ]  # fmt: skip
    assert report.counts["steps left out: navigate_home"] == 1
    assert report.counts["points without an element, given a box of their own"] == 2
    # The step after the one that was left out has its screen as the previous one, and knows of it.
    assert inputs[3]["screen_path1"] == "1_4.png"
    assert inputs[3]["history_path_all"][-1] == "Go home"
    assert list(inputs[0]["task_path"].values()) == words[:-1]  # an instruction of two steps stands once


def zoo_step(number, kind, **changed):
    return {
        "episode_id": "5", "episode_length": 6, "step_id": number, "instruction": 'open app "Clock"',
        "ui_positions": "[[90, 40, 60, 80], [100, 50, 20, 30], [0, 0, 400, 200]]", "ui_text": "[]", "ui_types": "[]",
        "result_action_type": kind, "result_action_text": "", "result_touch_yx": "[-1.0, -1.0]",
        "result_lift_yx": "[-1.0, -1.0]", "image_path": f"general/GENERAL-5/GENERAL-5_{number}.png",
        "coat_action_desc": f"step {number}",
    } | changed  # fmt: skip


def test_android_in_the_zoo(golds, tmp_path):
    folder = tmp_path / "aitz" / "general" / "GENERAL-5"
    folder.mkdir(parents=True)
    steps = [
        zoo_step(0, 6), zoo_step(1, 4, result_touch_yx="[0.275, 0.3]", result_lift_yx="[0.276, 0.3]"),
        zoo_step(2, 4, result_touch_yx="[0.8, 0.5]", result_lift_yx="[0.2, 0.5]"),
        zoo_step(3, 3, result_action_text="clock"), zoo_step(4, 7), zoo_step(5, 10),
    ]  # fmt: skip
    (folder / "GENERAL-5.json").write_text(json.dumps(steps))
    for n in range(6):
        (folder / f"GENERAL-5_{n}.png").write_bytes(png())
    said, inputs, report = golds("aitz", tmp_path / "aitz")
    # Positions are y, x, height, width: the smallest element around the tap is the gold box.
    assert said == [
        ("click", "50,100,80,120"), ("swipe", "100,320,100,80"), ("type", "clock"), ("task_completed", ""),
    ]  # fmt: skip
    assert report.counts["steps left out: home"] == report.counts["steps left out: enter"] == 1
    assert inputs[0]["history_path_all"] == ["step 0"]


def test_android_in_the_wild(golds, tmp_path):
    def step(number, kind, touch=(-1.0, -1.0), lift=(-1.0, -1.0), text=b""):
        return {
            "episode_id": [b"9"], "step_id": [number], "episode_length": [4], "goal_info": [b"open clock"],
            "image/encoded": [Image.new("RGB", SIZE, "white").tobytes()], "image/height": [SIZE[1]],
            "image/width": [SIZE[0]], "image/ui_annotations_positions": [0.25, 0.25, 0.1, 0.2],
            "results/action_type": [kind], "results/type_action": [text], "results/yx_touch": list(touch),
            "results/yx_lift": list(lift),
        }  # fmt: skip

    write_records(
        tmp_path / "general", step(0, 4, (0.3, 0.3), (0.3, 0.3)), step(1, 4, (0.7, 0.2), (0.7, 0.8)),
        step(2, 3, text="时钟".encode()), step(3, 11),
    )  # fmt: skip
    said, inputs, _ = golds("aitw", tmp_path / "general")
    assert said == [
        ("click", "50,100,90,140"), ("swipe", "40,280,160,280"), ("type", "时钟"), ("task_impossible", ""),
    ]  # fmt: skip
    assert inputs[0]["task_content"] == "open clock"
    assert Image.open(tmp_path / "tasks" / "1" / "1_1.png").size == SIZE


def test_screen_agent(golds, tmp_path):
    session = tmp_path / "sessions" / "08a2"
    (session / "images").mkdir(parents=True)
    mouse = {"action_type": "MouseAction", "mouse_button": "left", "mouse_position": {"width": 100, "height": 50}}
    area = {"upper_left_position": {"width": 90, "height": 40}, "lower_right_position": {"width": 150, "height": 60}}
    acting = [
        {**mouse, "mouse_action_type": "click", "clickable_area": area}, {**mouse, "mouse_action_type": "double_click"},
        {"action_type": "MouseAction", "mouse_action_type": "scroll_up", "scroll_repeat": 2},
        {"action_type": "KeyboardAction", "keyboard_action_type": "text", "keyboard_text": "hello"},
        {"action_type": "KeyboardAction", "keyboard_action_type": "press", "keyboard_key": "Return"},
        {"action_type": "WaitAction", "wait_time": 1.0},
    ]  # fmt: skip
    for name, status, actions in (
        ("2024-01-13_1", "planning", []), ("2024-01-13_2", "acting", acting),
        ("2024-01-13_3", "evaluating", [{"action_type": "EvaluateSubTaskAction", "situation": "sub_task_success"}]),
    ):  # fmt: skip
        record = {"task_prompt": "Fix it", "status": status, "saved_image_name": f"{name}.jpg", "actions": actions}
        (session / f"{name}.json").write_text(json.dumps(record | {"current_task": "Locate the line"}))
        Image.new("RGB", SIZE).save(session / "images" / f"{name}.jpg")
    said, inputs, report = golds("screenagent", tmp_path / "sessions")
    assert said == [
        ("click", "90,40,150,60"), ("swipe", "100,120,100,280"), ("type", "hello"), ("wait", ""),
    ]  # fmt: skip
    assert report.counts["steps left out: mouse left double_click"] == 1
    assert report.counts["steps left out: key press"] == 1
    assert {entry["task_content"] for entry in inputs} == {"Fix it"}
    assert (tmp_path / "tasks" / "1" / "1_1.jpg").is_file()


def test_vlm_r1s_own_rows_need_no_import():
    """Two images, marks or none, an answer in tags: what the loader reads as it is."""
    row = parse_row(json.dumps({
        "id": 1, "image": ["a.png", "b.png"],
        "conversations": [{"from": "human", "value": "Which one?"}, {"from": "gpt", "value": "<answer>a</answer>"}],
    }))  # fmt: skip
    assert (row["problem"], row["solution"]) == ("<image><image>Which one?", "a")


def test_points_and_scrolls():
    report = Report()
    whole = (0.0, 0.0, 200.0, 400.0)  # an element that is half the screen says nothing about a point
    assert point(100, 200, SIZE, [whole], report) == "94,188,106,212"
    assert point(0, 0, SIZE, [], report) == "0,0,6,12"
    assert report.counts.total() == 2
    assert scroll("up", SIZE) == "100,120,100,280"
    assert scroll("right", SIZE) == "140,200,60,200"


def test_bad_input_gets_one_line_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"no record")
    (tmp_path / "empty").mkdir()
    for words, message in (
        (("aitz", tmp_path / "gone"), "gone: no such file or folder"),
        (("aitz", tmp_path / "empty"), "no <episode>/<episode>.json under it"),
        (("screenagent", tmp_path / "empty"), "no session folders"),
        (("androidcontrol", tmp_path / "file"), "no GZIP TFRecord"),
    ):
        assert main([*map(str, words), "--out", str(tmp_path / "tasks")]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("import: ")
        assert message in said
        assert not list(tmp_path.glob("tasks*"))
    with pytest.raises(SourceError, match="is there already"):
        convert("aitz", tmp_path, tmp_path / "empty")
