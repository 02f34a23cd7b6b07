import json

import pytest

from overlay.action.completion import THINK_FIELDS
from overlay.action.reserved import MARK
from overlay.errors import SettingError
from overlay.prompt.style import PromptStyle
from overlay.prompt.template import load_template, place_images, render_question

FIELDS = {"task_content": "打开{微信}", "screen_path1": "a.jpg", "screen_path2": "b.jpg", "history_path_all": []}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_templates_say_what_is_asked(language):
    text = load_template(language)
    for word in ("task_content", "task_path", "screen_path1", "screen_path2", "history_path_all", "app_name",
                 "action_type_list", "<think>{", "}</think><answer>{", "}</answer>", "inquiry", "long_click",
                 *THINK_FIELDS):  # fmt: skip
        assert word in text
    assert MARK not in text


@pytest.mark.parametrize(
    ("language", "first", "second", "words"),
    [
        ("zh", "a.jpg", "b.jpg", ("两张截图", "第一张是上一步", "第二张是当前")),
        ("zh", "", "b.jpg", ("一张截图", "没有上一步")),
        ("zh", "a.jpg", None, ("一张截图", "没有当前屏幕")),
        ("zh", "", "", ("没有截图",)),
        ("en", "a.jpg", "b.jpg", ("Two screenshots", "first is the previous", "second the current")),
        ("en", "", "b.jpg", ("One screenshot", "none of the previous")),
    ],
)
def test_wording_follows_the_screens(language, first, second, words):
    text = render_question(load_template(language), FIELDS | {"screen_path1": first, "screen_path2": second}, language)
    assert all(word in text for word in words)
    assert text.count(MARK) == bool(first) + bool(second)
    assert "{screens}" not in text


def test_input_is_one_line_of_json_after_the_template():
    text = render_question("{a} {screens} {", FIELDS)
    line = text[text.index('{"task_content"') :]
    assert text.startswith("{a} 下面附有两张截图")  # other braces are plain text
    assert json.loads(line) == FIELDS | {"screen_path1": MARK, "screen_path2": MARK}
    assert "打开{微信}" in line  # not escaped
    assert "\n" not in line


def test_previous_screen_comes_first_whatever_the_key_order():
    swapped = {"screen_path2": "b.jpg", "task_content": "x", "screen_path1": ""}
    line = render_question("", swapped)
    assert json.loads(line) == {"screen_path1": "", "screen_path2": MARK, "task_content": "x"}
    assert line.index("screen_path1") < line.index("screen_path2")


def test_images_stand_at_their_marks():
    kinds = [part.get("text", part["type"]) for part in place_images("a<image>b<image>", 2)]
    assert kinds == ["a", "image", "b", "image"]
    first = place_images("a<image>b<image>", 2, images_first=True)
    assert [part.get("text", part["type"]) for part in first] == ["image", "image", "ab"]
    with pytest.raises(ValueError, match="1 <image> marks but 2 images"):
        place_images("a<image>", 2)


def test_users_template_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("我的{模板}\n", encoding="utf-8")
    assert load_template(str(path)) == "我的{模板}\n"
    with pytest.raises(SettingError, match="neither"):
        load_template(str(tmp_path / "none.txt"))
    path.write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"mine\.txt'.*can't decode"):
        load_template(str(path))


BARE = {
    "two marks in front, as rows without marks get them": ("<image><image>" + json.dumps(FIELDS), FIELDS),
    "one mark in front is the current screen": ("<image>" + json.dumps({"task_content": "x"}), {
        "task_content": "x", "screen_path1": "", "screen_path2": "b.jpg"}),
    "one mark in front, of the previous screen": ("<image>" + json.dumps(FIELDS | {"screen_path2": ""}),
        FIELDS | {"screen_path2": ""}),
    "one mark in front, both screens named": ("<image>" + json.dumps(FIELDS), FIELDS | {"screen_path1": ""}),
    "spaces between marks and input": ("<image>\n<image>\n" + json.dumps(FIELDS, indent=1), FIELDS),
}  # fmt: skip


@pytest.mark.parametrize("case", BARE)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_rows_that_are_only_input_become_the_prompt_of_make_data(case, language):
    problem, fields = BARE[case]
    template = load_template(language)
    made = PromptStyle(template, language).question(problem)
    assert made == render_question(template, fields, language)
    assert made.count(MARK) == problem.count(MARK)


def test_compact_input_gets_the_sentence_of_its_screens():
    for fields, words in ((FIELDS, "两张截图"), (FIELDS | {"screen_path1": ""}, "一张截图：当前屏幕")):
        compact = json.dumps(json.loads(render_question("", fields)), separators=(",", ":"), ensure_ascii=False)
        made = PromptStyle(load_template("zh")).question(compact)
        assert words in made
        assert made.endswith(compact)
    broken = "<image>{not JSON"
    assert PromptStyle(load_template("zh")).question(broken) == broken


def test_rows_without_a_template_get_one_and_others_stay():
    style = PromptStyle(load_template("zh"))
    bare = render_question("", FIELDS)
    assert style.question(bare) == render_question(load_template("zh"), FIELDS)
    assert style.question("Which one?") == "Which one?"
    full = render_question(load_template("en"), FIELDS, "en")
    assert style.question(full) == full
    only_current = render_question("", FIELDS | {"screen_path1": ""})
    assert "一张截图：当前屏幕" in style.question(only_current)
