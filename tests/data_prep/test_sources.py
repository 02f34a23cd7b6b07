"""Each published format, as a tiny sample made here in that format, through the converter and on into rows."""

import json
from io import BytesIO

import pytest
from PIL import Image

from data_prep.sources.__main__ import convert, main
from data_prep.sources.common import Report, point, scroll
from overlay.data.rows import parse_row
from overlay.errors import SourceError
from tests.data_prep.published import SIZE, forest, node, png, put, write_records

ACTIONS = [
    {"action_type": "open_app", "app_name": "Clock"}, {"action_type": "click", "x": 100, "y": 200},
    {"action_type": "scroll", "direction": "down"}, {"action_type": "navigate_home"},
    {"action_type": "input_text", "text": "07:30"}, {"action_type": "wait"}, {"action_type": "navigate_back"},
    {"action_type": "long_press", "x": 199, "y": 399},
]  # fmt: skip
TOLD = ["Open Clock", "Tap alarm", "Scroll", "Go home", "Type", "Wait", "Back", "Back"]


def control_episode(**changed):
    return {
        "episode_id": [7], "goal": [b"Set an alarm"], "screenshots": [png(shade=n) for n in range(len(ACTIONS) + 1)],
        "actions": [json.dumps(action).encode() for action in ACTIONS],
        "step_instructions": [word.encode() for word in TOLD],
    } | changed  # fmt: skip


def test_android_control(golds, tmp_path):
    write_records(tmp_path / "android_control-00000-of-00020", control_episode())
    said, steps, report = golds("androidcontrol", tmp_path / "android_control-00000-of-00020")
    assert said == [
        ("open_app", "Clock"), ("click", "94,188,106,212"),
        ("swipe", "100,280,100,120"),  # the content goes on below: the finger moves up
        ("type", "07:30"), ("wait", ""), ("back", ""), ("long_click", "193,387,200,400"), ("task_completed", ""),
    ]  # fmt: skip
    assert report.counts["steps left out: navigate_home"] == 1
    assert report.counts["points without an element, given a box of their own"] == 2
    # The step after the one that was left out has its screen as the previous one, and knows of it.
    assert steps[3]["input"]["screen_path1"] == "1_4.png"
    assert steps[3]["input"]["history_path_all"][-1] == "Go home"
    # An entry for every step, the one left out and the one that goes on included: history and plan line up.
    assert list(steps[0]["input"]["task_path"].values()) == [*TOLD, "Finish"]
    assert not any("aligned" in step or "elements" in step for step in steps)


def test_android_controls_trees_give_the_boxes_of_real_elements(golds, tmp_path):
    screen = (0, 0, 200, 400)
    rows = forest((0, [
        node(screen, clickable=True), node((10, 150, 190, 250), clickable=True, f7=b"Alarm"),
        node((20, 180, 101, 220)), node((95, 195, 105, 205), visible=False, clickable=True),
        node((-20, 300, 210, 340)), node((150, 380, 150, 400)),
    ]))  # fmt: skip
    dialog = forest(
        (0, [node(screen), node((180, 380, 200, 400), clickable=True)]), (3, [node((150, 350, 200, 400), f15=True)])
    )  # fmt: skip
    trees = [forest(), rows, rows, rows, b"\xff\xff", forest(), forest(), dialog, forest()]
    write_records(tmp_path / "android_control-00001", control_episode(accessibility_trees=trees))
    said, steps, report = golds("androidcontrol", tmp_path)
    # The text in the row takes no finger, the invisible button none either: the row does.
    assert said[1] == ("click", "10,150,190,250")
    # What lies behind a dialog is not what the finger meets.
    assert said[6] == ("long_click", "150,350,200,400")
    assert steps[1]["elements"] == [[0, 0, 200, 400], [10, 150, 190, 250], [20, 180, 101, 220], [0, 300, 200, 340]]
    # What published rules ask: the tap, and the elements that hold it.
    assert (steps[1]["tap"], steps[1]["candidates"]) == ([100, 200], [[0, 0, 200, 400], *steps[1]["elements"][1:3]])
    assert steps[0]["elements"] == []
    assert "elements" not in steps[3]  # its tree cannot be read
    assert report.counts["accessibility trees that cannot be read"] == 1
    assert report.counts["points without an element, given a box of their own"] == 0


def test_the_button_for_back_and_back_stand_for_each_other(golds, tmp_path):
    """By its content description, in the foremost window, where there is one of them."""
    up, title = node((0, 0, 40, 40), clickable=True, f4=b"Navigate up"), node((40, 0, 200, 40), f4=b"Back")
    page = (0, [up, title, node((10, 150, 190, 250), clickable=True)])
    two = (0, [up, node((160, 0, 200, 40), clickable=True, f4="返回".encode())])
    button, row = ({"action_type": "click", "x": x, "y": y} for x, y in ((20, 20), (100, 200)))
    back = {"action_type": "navigate_back"}
    cases = [
        (back, page), (button, page), (row, page), (back, two), (button, two), (back, (0, [title])),
        (button | {"action_type": "long_press"}, page), ({"action_type": "wait"}, page),
    ]  # fmt: skip
    covered = forest(page, (3, [node((0, 300, 200, 400), clickable=True)]))
    episode = control_episode(
        screenshots=[png(shade=n) for n in range(len(cases) + 2)], step_instructions=[b""] * (len(cases) + 1),
        actions=[json.dumps(action).encode() for action, _ in [*cases, (back, None)]],
        accessibility_trees=[*(forest(window) for _, window in cases), covered, forest()],
    )  # fmt: skip
    write_records(tmp_path / "android_control-00001", episode)
    _, steps, report = golds("androidcontrol", tmp_path)
    press = {"action_type": "click", "action_parameter": {"click": "0,0,40,40"}}
    also = [step.get("also") for step in steps]
    assert also == [[press], [{"action_type": "back", "action_parameter": {"back": ""}}], *[None] * 8]
    assert report.counts["steps with further right actions"] == 2


def zoo_step(number, kind, **changed):
    return {
        "episode_id": "5", "episode_length": 6, "step_id": number, "instruction": 'open app "Clock"',
        "ui_positions": "[[90, 40, 60, 80], [100, 50, 20, 30], [0, 0, 400, 200]]", "ui_text": "[]", "ui_types": "[]",
        "result_action_type": kind, "result_action_text": "", "result_touch_yx": "[-1.0, -1.0]",
        "result_lift_yx": "[-1.0, -1.0]", "image_path": f"general/GENERAL-5/GENERAL-5_{number}.png",
        "coat_action_desc": f"step {number}",
    } | changed  # fmt: skip


def test_android_in_the_zoo(golds, tmp_path):
    """As data-example/ of its repository has it: positions in pixels, points as shares, both as JSON in a string."""
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
    assert inputs[0]["input"]["history_path_all"] == ["step 0"]
    assert inputs[0]["elements"] == [[40, 90, 120, 150], [50, 100, 80, 120], [0, 0, 200, 400]]
    assert {step["group"] for step in inputs} == {"general"}
    assert list(inputs[3]["input"]["task_path"].values()) == [f"step {n}" for n in range(6)]


def test_a_line_of_text_is_grown_to_a_fingers_place(golds, tmp_path):
    folder = tmp_path / "general" / "GENERAL-5"
    step = zoo_step(
        0, 4, ui_positions="[[100, 50, 6, 60]]", result_touch_yx="[0.255, 0.3]", result_lift_yx="[0.255, 0.3]",
        image_path="general/GENERAL-5/GENERAL-5_0.png",
    )  # fmt: skip
    put(folder / "GENERAL-5.json", [step])
    put(folder / "GENERAL-5_0.png", png())
    said, steps, report = golds("aitz", tmp_path)
    assert said == [("click", "50,97,110,109")]  # 3 % of 400 high, around the line's middle
    assert steps[0]["elements"] == [[50, 100, 110, 106]]
    assert report.counts["boxes smaller than 3% of a side, grown to it"] == 1


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
    assert inputs[0]["input"]["task_content"] == "open clock"
    assert inputs[0]["elements"] == [[50, 100, 90, 140]]
    # It has no words of its own: a plan made of the golds would tell them.
    assert not any(step["input"]["task_path"] for step in inputs)
    assert inputs[2]["input"]["history_path_all"] == ["Tap", "Swipe"]
    assert Image.open(tmp_path / "tasks" / "1" / "1_1.png").size == SIZE


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
        (("cagui", tmp_path / "empty"), "no <episode>/<episode>.json under it"),
        (("cagui-grounding", tmp_path / "empty"), "no *.jsonl and no code/*.jsonl"),
        (("odyssey", tmp_path / "empty"), "no annotations/*.json in it"),
        (("screenspot", tmp_path / "empty"), "no *.json and no annotations/*.json"),
        (("ui-s1", tmp_path / "empty"), "no *.jsonl in it"),
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


def test_nothing_readable_says_why(tmp_path, capsys):
    """What was left out, by reason, and the first fault."""
    home = [json.dumps({"action_type": "navigate_home"}).encode()]
    (tmp_path / "source").mkdir()
    write_records(tmp_path / "source" / "android_control-0", *(
        control_episode(actions=home, screenshots=[b"no image"] * count) for count in (2, 3)
    ))  # fmt: skip
    assert main(["androidcontrol", str(tmp_path / "source"), "--out", str(tmp_path / "tasks")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "no episode that can be said: 2 episodes left out: not as the source documents it; " in said[-1]
    assert "android_control-0: record 1: a screenshot is no image" in said[-1]
    assert any("left out: " in line and "record 2: 3 screenshots for 1 actions" in line for line in said)
    assert not list(tmp_path.glob("tasks*"))


def test_broken_episodes_are_left_out_and_counted(golds, tmp_path):
    """One bad file among many costs itself; a TFRecord that breaks off, its rest."""

    def noise():
        out = BytesIO()
        Image.effect_noise(SIZE, 90).save(out, "PNG")
        return out.getvalue()

    whole = [control_episode(episode_id=[n], screenshots=[noise() for _ in range(9)]) for n in (1, 2, 3)]
    write_records(tmp_path / "android_control-0", whole[0], control_episode(goal=[b"\xff"]), whole[1])
    write_records(tmp_path / "android_control-1", *whole)
    data = (tmp_path / "android_control-1").read_bytes()
    (tmp_path / "android_control-1").write_bytes(data[: len(data) * 9 // 10])
    _, _, report = golds("androidcontrol", tmp_path)
    assert report.counts["episodes"] == 4
    assert report.counts["episodes left out: not as the source documents it"] == 1
    assert report.counts["files that break off: the rest of their episodes left out"] == 1


def test_a_split_names_the_episodes(golds, tmp_path):
    write_records(tmp_path / "android_control-0", *(control_episode(episode_id=[n]) for n in (4, 5, 6)))
    split = put(tmp_path / "splits.json", {"train": [4], "test": [5, "6.json"]})
    _, _, report = golds("androidcontrol", tmp_path, split=f"{split}:test")
    assert report.counts["episodes"] == 2
    assert report.counts["episodes left out: not in the split"] == 1
    with pytest.raises(SourceError, match=r"a part of the file that lists episodes \(it has: train, test\)"):
        convert("androidcontrol", tmp_path, tmp_path / "other", split=f"{split}:val")


def test_a_screen_that_several_steps_show_is_one_file(golds, tmp_path):
    write_records(tmp_path / "android_control-0", control_episode(screenshots=[png()] * 9))
    golds("androidcontrol", tmp_path)
    assert [path.name for path in (tmp_path / "tasks" / "1").glob("*.png")] == ["1_1.png"]
