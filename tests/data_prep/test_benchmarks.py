"""Benchmarks in their published layouts, as tiny samples made here: GUI-Odyssey, UI-S1's AndroidControl, CAGUI,
ScreenSpot, -v2 and -Pro."""

import pytest

from tests.data_prep.published import png, put


def odyssey_step(number, action, info, **more):
    return {
        "step": number, "screenshot": f"01_{number}.png", "action": action, "info": info, "ps": "", "sam2_bbox": [],
        "description": "A page.", "intention": "", "context": "", "low_level_instruction": f"step {number}",
    } | more  # fmt: skip


@pytest.mark.parametrize("screens", ["screenshots", "screenshots/data_1"])
@pytest.mark.parametrize("start", ["", "data"])
def test_gui_odyssey(start, screens, golds, tmp_path):
    """Screens lie flat or as they were packed; coordinates are 0 to 1000 of each side."""
    root = tmp_path / "GUI-Odyssey"
    steps = [
        odyssey_step(0, "CLICK", [[500, 500], [500, 500]], sam2_bbox=[450, 475, 550, 525]),
        odyssey_step(1, "CLICK", "KEY_HOME"), odyssey_step(2, "CLICK", "KEY_BACK"),
        odyssey_step(3, "LONG_PRESS", [[100, 100]], sam2_bbox=[0, 0, 1000, 1000]),  # the whole screen says nothing
        odyssey_step(4, "SCROLL", [[500, 800], [500, 200]]), odyssey_step(5, "TEXT", "hello"),
        odyssey_step(6, "CLICK", "KEY_APPSELECT"), odyssey_step(7, "COMPLETE", ""), odyssey_step(8, "INCOMPLETE", ""),
    ]  # fmt: skip
    put(root / start / "annotations" / "01.json", {
        "episode_id": "01", "device_info": {"h": 400, "w": 200, "device_name": "Pixel 7 Pro"}, "step_length": 9,
        "task_info": {"category": "Web_Shopping", "app": ["Chrome", "Clock"], "task": "t", "instruction": "Find it"},
        "steps": steps,
    })  # fmt: skip
    for number in range(9):
        put(root / start / screens / f"01_{number}.png", png(shade=number))
    said, files, report = golds("odyssey", root)
    assert said == [
        ("click", "90,190,110,210"), ("back", ""), ("long_click", "14,28,26,52"), ("swipe", "100,320,100,80"),
        ("type", "hello"), ("task_completed", ""), ("task_impossible", ""),
    ]  # fmt: skip
    assert files[0]["elements"] == [[90, 190, 110, 210]]
    assert [("elements" in step) for step in files] == [True, False, True, False, False, False, False]
    assert {(step["group"], step["input"]["app_name"]) for step in files} == {("Web_Shopping", "Chrome, Clock")}
    assert list(files[0]["input"]["task_path"].values()) == [f"step {n}" for n in range(9)]
    assert report.counts["steps left out: home"] == report.counts["steps left out: recent apps"] == 1


def test_ui_s1s_android_control(golds, tmp_path):
    folder = tmp_path / "datasets"

    def step(number, action, told=None, boxes=None):
        more = {} if told is None else {"step_instruction": told}
        more |= {} if boxes is None else {"check_options": action | {"candidate_bbox": boxes}}
        path = f"/datasets/AndroidControl/images/8193_{number}.png"
        put(folder / "AndroidControl" / "images" / f"8193_{number}.png", png(shade=number))
        return {"action_content": action, "screenshot": path} | more

    click = {"action": "click", "coordinate": [100, 200]}
    put(folder / "android_control_evaluation_std.jsonl", [{"goal": "Publish it", "is_successful": True, "steps": [
        step(0, {"action": "open", "text": "Gallery"}, "open it"),
        step(1, click, "click create", [[10, 150, 190, 250], [90, 190, 110, 210]]), step(2, click, "click create", []),
        step(3, {"action": "long_press", "coordinate": [100, 200], "time": 2}, "hold", [[90, 190, 110, 210]]),
        step(4, {"action": "swipe", "coordinate": [100.0, 300.0], "coordinate2": [100.0, 100.0]}, "scroll"),
        step(5, {"action": "system_button", "button": "Back"}, "back"),
        step(6, {"action": "system_button", "button": "Home"}, "home"),
        step(7, {"action": "wait", "time": 2}, "wait"), step(8, {"action": "type", "text": "hi"}, "type hi"),
    ], "episode_id": 8193}])  # fmt: skip
    put(folder / "train.jsonl", [{"goal": "Look", "is_successful": True, "steps": [
        step(0, click | {"bbox": [60, 160, 140, 240]}), step(1, {"action": "terminate", "status": "success"}),
        step(2, {"action": "terminate", "status": "failure"}),
    ]}])  # fmt: skip
    said, files, report = golds("ui-s1", folder)
    assert said == [
        ("open_app", "Gallery"), ("click", "90,190,110,210"), ("click", "94,188,106,212"),
        ("long_click", "90,190,110,210"), ("swipe", "100,300,100,100"), ("back", ""), ("wait", ""), ("type", "hi"),
        ("click", "60,160,140,240"), ("task_completed", ""), ("task_impossible", ""),
    ]  # fmt: skip
    assert files[1]["elements"] == [[10, 150, 190, 250], [90, 190, 110, 210]]
    assert files[2]["elements"] == []
    assert (files[1]["tap"], files[1]["candidates"]) == ([100, 200], files[1]["elements"])
    assert "candidates" not in files[0]  # whether the app's icon is on the screen is not said
    assert not any("also" in step for step in files)
    assert files[8]["elements"] == [[60, 160, 140, 240]]
    assert "elements" not in files[0]
    assert report.counts["steps left out: button Home"] == 1
    # An instruction that spans two steps stands for both, as the published scores have it.
    assert list(files[0]["input"]["task_path"].values())[1:3] == ["click create"] * 2


def test_ui_s1_names_further_right_actions(golds, tmp_path):
    """Its evaluation opens an app by its icon too, and takes any of the candidates of a click."""
    names = [f"images/8193_{number}.png" for number in range(2)]
    for number, name in enumerate(names):
        put(tmp_path / "set" / name, png(shade=number))
    boxes = [[10, 20, 60, 90], [100, 300, 900, 390]]  # the second runs over the edge of a screen of 200 x 400
    steps = [
        {"action_content": {"action": "open", "text": "Gallery"}, "check_options": {"candidate_bbox": boxes}},
        {"action_content": {"action": "click", "coordinate": [30, 40]}, "check_options": {"candidate_bbox": boxes}},
    ]
    steps = [step | {"screenshot": name, "step_instruction": "x"} for step, name in zip(steps, names, strict=True)]
    put(tmp_path / "set" / "test.jsonl", [{"goal": "Look", "is_successful": True, "steps": steps, "episode_id": 8193}])
    said, files, report = golds("ui-s1", tmp_path / "set")
    assert said == [("open_app", "Gallery"), ("click", "10,20,60,90")]
    click = lambda box: {"action_type": "click", "action_parameter": {"click": box}}  # noqa: E731
    assert files[0]["also"] == [click("10,20,60,90"), click("100,300,200,390")]
    assert files[1]["also"] == [click("100,300,200,390")]
    assert report.counts["steps with further right actions"] == 2


def test_caguis_agent_part(golds, tmp_path):
    """AgentCPM-GUI's form: elements as shares of the screen, numbers of its own for long presses and waits."""
    folder = tmp_path / "CAGUI_agent" / "domestic" / "a1"

    def step(number, kind, touch=(-1.0, -1.0), lift=None, **more):
        put(folder / f"a1_{number}.jpeg", png(shade=number))
        return {
            "episode_id": "a1", "episode_length": 8, "step_id": number, "instruction": "打开QQ音乐",
            "image_path": f"domestic/a1/a1_{number}.jpeg", "image_width": 200, "image_height": 400,
            "ui_positions": "[[0.45, 0.4, 0.1, 0.2], [1.2, 0.1, 0.1, 0.1]]",  # the second is scrolled off the screen
            "result_action_type": kind, "result_action_text": "",
            "result_touch_yx": str(list(touch)), "result_lift_yx": str(list(lift or touch)), "duration": None,
        } | more  # fmt: skip

    put(folder / "a1.json", [
        step(0, 4, (0.5, 0.5)), step(1, 0, (0.5, 0.5), duration=2000), step(2, 1, duration=500),
        step(3, 4, (0.8, 0.5), (0.2, 0.5)), step(4, 3, result_action_text="无锡"), step(5, 5), step(6, 6), step(7, 10),
    ])  # fmt: skip
    said, files, report = golds("cagui", tmp_path / "CAGUI_agent")
    assert said == [
        ("click", "80,180,120,220"), ("long_click", "80,180,120,220"), ("wait", ""), ("swipe", "100,320,100,80"),
        ("type", "无锡"), ("back", ""), ("task_completed", ""),
    ]  # fmt: skip
    assert files[0]["elements"] == [[80, 180, 120, 220]]
    assert {step["group"] for step in files} == {"domestic"}
    assert files[4]["output"]["action_description"] == "输入“无锡”"
    assert report.counts["steps left out: home"] == 1


def test_caguis_grounding_part(golds, tmp_path):
    root = tmp_path / "CAGUI_grounding"
    for file, task in (("cap", "bbox2function"), ("ocr", "bbox2text")):
        prefix = "grounding_eval/dataset/images/" + ("ocr/" if file == "ocr" else "")
        put(root / "code" / f"{file}.jsonl", [{
            "task": task, "image": f"{prefix}0.jpeg", "id": 3, "abs_position": "<10, 20, 60, 90>",
            "rel_position": "<0.05, 0.05, 0.3, 0.225>", "text": f"{file} 按钮",
        }])  # fmt: skip
        put(root / "images" / file / "0.jpeg", png(shade=len(task)))
    said, files, _ = golds("cagui-grounding", root)
    assert said == [("click", "10,20,60,90")] * 2
    assert [step["group"] for step in files] == ["bbox2function", "bbox2text"]
    assert [step["input"]["task_content"] for step in files] == ["cap 按钮", "ocr 按钮"]
    assert files[0]["input"]["task_path"] == {}
    assert not any("aligned" in step for step in files)


@pytest.mark.parametrize("version", ["", "_v2"])
def test_screenspot(version, golds, tmp_path):
    """Boxes are x, y, width, height; several questions share a screen, which is stored once."""
    images = {"": "screenspot_imgs", "_v2": "screenspotv2_image"}[version]
    for number, platform in enumerate(("desktop", "mobile", "web")):
        put(tmp_path / "spot" / f"screenspot_{platform}{version}.json", [
            {"img_filename": f"{platform}.png", "bbox": [10, 20, 30, 40], "instruction": f"{platform} {kind}",
             "data_type": kind, "data_source": "ios"} for kind in ("icon", "text")
        ])  # fmt: skip
        put(tmp_path / "spot" / images / f"{platform}.png", png(shade=number))
    said, files, _ = golds("screenspot", tmp_path / "spot")
    assert said == [("click", "10,20,40,60")] * 6
    assert [step["group"] for step in files[:3]] == ["desktop icon", "desktop text", "mobile icon"]
    assert files[0]["input"]["task_content"] == "desktop icon"
    assert files[0]["input"]["history_path_all"] == []
    assert files[0]["elements"] == [[10, 20, 40, 60]]
    assert len({path.stat().st_ino for path in (tmp_path / "tasks").glob("*/*.png")}) == 3


@pytest.mark.parametrize(("language", "task"), [("en", "the pen"), ("zh", "画笔")])
def test_screenspot_pro(language, task, golds, tmp_path):
    """Boxes are two corners; instructions come in two languages."""
    items = [
        {"img_filename": "blender_windows/a.png", "bbox": box, "instruction": "the pen", "instruction_cn": "画笔",
         "id": f"blender_windows_{n}", "application": "blender", "platform": "windows", "img_size": [200, 400],
         "ui_type": "icon", "group": "Creative"} for n, box in enumerate(([10, 20, 30, 40], [300, 20, 310, 40]))
    ]  # fmt: skip
    put(tmp_path / "pro" / "annotations" / "blender_windows.json", items)
    put(tmp_path / "pro" / "images" / "blender_windows" / "a.png", png())
    said, files, report = golds("screenspot-pro", tmp_path / "pro", language=language)
    assert said == [("click", "10,20,30,40")]
    assert (files[0]["group"], files[0]["input"]["app_name"]) == ("Creative icon", "blender")
    assert files[0]["input"]["task_content"] == task
    assert report.counts["steps left out: box outside its screenshot"] == 1
