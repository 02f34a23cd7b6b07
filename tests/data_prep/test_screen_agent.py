"""ScreenAgent: exchanges in its published form, and its published sessions themselves where they are at hand."""

import json
from pathlib import Path

import pytest
from PIL import Image

from data_prep.sources.__main__ import convert, main
from overlay.errors import SourceError
from tests.data_prep.published import SIZE, png, put
from tests.stock import ROOT

SESSIONS = Path(ROOT).parent / "shared" / "data" / "screenagent"
published = pytest.mark.skipif(not SESSIONS.is_dir(), reason=f"NEEDS {SESSIONS}: published ScreenAgent sessions")

CLICK = {
    "action_type": "MouseAction", "mouse_action_type": "click", "mouse_button": "left",
    "mouse_position": {"width": 100, "height": 50},
}  # fmt: skip
AREA = {"upper_left_position": {"width": 90, "height": 40}, "lower_right_position": {"width": 150, "height": 60}}
TYPE = {"action_type": "KeyboardAction", "keyboard_action_type": "text", "keyboard_text": "hello"}
KEYS = {"action_type": "KeyboardAction", "keyboard_action_type": "press", "keyboard_key": ["Control_L", "s"]}


def exchange(folder, number, actions, subtask="", name="", **more):
    """One published exchange: no status, its kind shows in its actions; prompts in both languages."""
    shot = f"2023-12-18_00-0{number}-00-000000"
    put(folder / "images" / f"{shot}.png", png(shade=number))
    zh, en = ("打开菜单", "Open the menu") if subtask == "menu" else (subtask, subtask)
    record = {
        "task_prompt": "保存文件", "task_prompt_en": "Save the file", "task_prompt_zh": "保存文件",
        "send_prompt": f'总体目标是 "保存文件"。\n现在的子任务是 "{zh}"。\n您可以使用鼠标',
        "send_prompt_en": f'The current subtask is "{en}". You can use',
        "video_width": SIZE[0], "video_height": SIZE[1], "saved_image_name": f"{shot}.png", "session_id": folder.name,
        "actions": actions,
    } | more  # fmt: skip
    put(folder / f"{shot}_translate{name}.json", record)


def plan(folder, number, items, name=""):
    own = [{"action_type": "PlanAction", "element": zh} for zh, _ in items]
    told = [{"action_type": "PlanAction", "element": en} for _, en in items]
    exchange(
        folder, number, own, name=name, LLM_response_editer_en=f"The plan:\n```json\n{json.dumps(told, indent=1)}\n```",
        LLM_response_editer_zh=json.dumps(own, ensure_ascii=False),
    )  # fmt: skip


def evaluation(folder, number, name="", **more):
    exchange(folder, number, [{"action_type": "EvaluateSubTaskAction", "situation": "sub_task_success"}], name=name)


@pytest.fixture
def session(tmp_path):
    """Plan, a click, an evaluation, two actions on one screen, a plan anew, and negatives of each."""
    folder = tmp_path / "sessions" / "session7"
    plan(folder, 1, [("打开菜单", "Open the menu"), ("写入“你好”", 'Write "hello"')])
    exchange(folder, 2, [CLICK | {"clickable_area": AREA}], "menu")
    evaluation(folder, 3)
    plan(folder, 3, [("错误", "Wrong")], name="_neg_plan")
    evaluation(folder, 3, name="_neg_eval")
    exchange(folder, 4, [CLICK, TYPE, KEYS], "写入“你好”")
    plan(folder, 5, [("关闭窗口", "Close the window")])
    exchange(folder, 6, [CLICK], current_task="关闭窗口", send_prompt="")
    return folder


@pytest.mark.parametrize(
    ("language", "task", "items"),
    [("en", "Save the file", ["Open the menu", 'Write "hello"']), ("zh", "保存文件", ["打开菜单", "写入“你好”"])],
)
def test_a_session_in_the_language_asked_for(language, task, items, session, golds, tmp_path):
    said, steps, report = golds("screenagent", tmp_path / "sessions", language=language)
    assert said == [
        ("click", "90,40,150,60"), ("click", "94,38,106,62"), ("type", "hello"), ("click", "94,38,106,62"),
    ]  # fmt: skip
    assert {step["input"]["task_content"] for step in steps} == {task}
    assert list(steps[0]["input"]["task_path"].values()) == list(steps[2]["input"]["task_path"].values()) == items
    assert "aligned" not in steps[0]
    assert steps[0]["output"]["action_description"] == items[0]
    assert steps[0]["elements"] == [[90, 40, 150, 60]]
    # One item of the plan, three actions: the history tells them apart, and the row says what the plan does not.
    assert [step.get("aligned") for step in steps[1:]] == [False] * 3
    history = steps[3]["input"]["history_path_all"]
    assert len(history) == 4
    assert history[0] == items[0]
    assert all(words.startswith(f"{items[1]}: ") for words in history[1:])
    assert "hello" in history[2]
    assert "Control_L+s" in history[3]
    # The plan that was made anew holds from then on.
    assert len(steps[3]["input"]["task_path"]) == 1
    assert report.counts["exchanges left out: negatives"] == 2
    assert report.counts["exchanges without a step: plans"] == 2
    assert report.counts["exchanges without a step: evaluations"] == 1
    assert report.counts["steps left out: key press"] == 1
    assert report.counts["steps whose plan and history do not line up"] == 3


OTHERS = {
    "mouse left double_click": CLICK | {"mouse_action_type": "double_click"},
    "mouse right click": CLICK | {"mouse_button": "right"},
    "mouse left drag": CLICK | {"mouse_action_type": "drag"},
    "mouse move": CLICK | {"mouse_action_type": "move", "mouse_button": None},
    "mouse click without a place": {key: value for key, value in CLICK.items() if key != "mouse_position"},
    "click outside the screen": CLICK | {"mouse_position": {"width": 100, "height": 5000}},
    "key press": {"action_type": "KeyboardAction", "keyboard_action_type": "press", "keyboard_key": "Return"},
    "typing of nothing": TYPE | {"keyboard_text": ""},
    "SomeAction": {"action_type": "SomeAction"},
}


def test_what_a_finger_cannot_do_is_counted(golds, tmp_path):
    for number, action in enumerate(OTHERS.values(), 1):
        exchange(tmp_path / "s" / "one", number, [action])
    exchange(tmp_path / "s" / "two", 1, [
        {"action_type": "MouseAction", "mouse_action_type": "scroll_up", "scroll_repeat": 2},
        {"action_type": "KeyboardAction", "keyboard_text": "no type given"}, {"action_type": "WaitAction"},
    ])  # fmt: skip
    said, _, report = golds("screenagent", tmp_path / "s")
    assert said == [("swipe", "100,120,100,280"), ("type", "no type given"), ("wait", "")]
    assert {reason: report.counts[f"steps left out: {reason}"] for reason in OTHERS} == dict.fromkeys(OTHERS, 1)


def test_positions_are_of_the_recorded_video(golds, tmp_path):
    exchange(tmp_path / "s" / "one", 1, [CLICK], video_width=100, video_height=200)
    said, _, _ = golds("screenagent", tmp_path / "s")
    assert said == [("click", "194,88,200,112")]


def test_a_plan_without_a_translation_stays_as_it_is(golds, tmp_path):
    folder = tmp_path / "s" / "one"
    exchange(folder, 1, [{"action_type": "PlanAction", "element": "打开菜单"}], LLM_response_editer_en="no list")
    exchange(folder, 2, [CLICK], "menu")
    _, steps, report = golds("screenagent", tmp_path / "s", language="en")
    assert steps[0]["input"]["task_path"] == {"1": "打开菜单"}
    assert report.counts["plans without a translation, in the session's own language"] == 1


def test_files_that_are_no_exchange_are_the_reason(tmp_path):
    for name, content in (("one/a.json", {"status": "acting"}), ("one/b.json", [])):
        put(tmp_path / "s" / name, content)
    with pytest.raises(SourceError, match=r"2 files left out: no exchange \(actions, saved_image_name\)"):
        convert("screenagent", tmp_path / "s", tmp_path / "tasks")


@published
def test_published_sessions(golds, tmp_path, capsys):
    """All six: what they hold, in the language asked for, with every step that is left out counted."""
    said, steps, report = golds("screenagent", SESSIONS, language="en")
    assert len(said) == report.counts["steps"] == 7
    assert [kind for kind, _ in said] == ["click"] * 4 + ["type"] + ["click"] * 2
    assert report.counts["episodes"] == 5  # the sixth is keys alone
    left_out = {what: count for what, count in report.counts.items() if what.startswith("steps left out")}
    assert left_out == {
        "steps left out: key press": 2, "steps left out: mouse move": 1, "steps left out: mouse right click": 3,
    }  # fmt: skip
    assert report.counts["exchanges left out: negatives"] == 7
    assert report.counts["steps whose plan and history do not line up"] == 2
    assert {step["input"]["task_content"] for step in steps} == {
        "Open File Explorer", "Open Task Manager", 'Enter "item" in the first grid of the table“',
        "Pin Microsoft Edge to taskbar",
    }  # fmt: skip
    assert list(steps[0]["input"]["task_path"].values()) == ["Open Start Menu", "Click the File Explorer icon"]
    with Image.open(tmp_path / "tasks" / "1" / "1_1.jpg") as screen:
        assert screen.size == (1024, 768)
    assert main(["screenagent", str(SESSIONS), "--out", str(tmp_path / "zh")]) == 0
    assert "7  steps\n" in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "zh" / "1" / "step_1.json").read_text())["input"]["task_content"] == "打开文件资源管理器"
    )
