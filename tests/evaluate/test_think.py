"""`make think`: what is kept and what is not, killed and started again, and what is refused."""

import json

import pytest

from overlay.action.action import Action
from overlay.data.dataset import load_dataset
from overlay.evaluate import think
from overlay.metrics.rules.step import Screen
from tests.evaluate.parts import action, answering, killed, tree

pytestmark = pytest.mark.integration


def said(thinking, kind="wait"):
    return f"<think>{thinking}</think><answer>{action(kind)}</answer>"


# Task 1 is right at once. Task 2: wrong, then right with a place, without thinking, and right. Task 3 is never right.
REPLIES = {
    "1": [said("it loads")],
    "2": [
        said("so", "back"),
        said("the icon at 12, 40"),
        f"<answer>{action('wait')}</answer>",
        said(" still loading "),
    ],
    "3": [said("a menu", "back")],
}


@pytest.fixture
def server():
    with answering(lambda task, number: REPLIES[task][min(number, len(REPLIES[task]) - 1)]) as made:
        yield made


@pytest.fixture
def line(server, tmp_path):
    data, images = tree(tmp_path, "{task}/{step}.png")
    flags = ["--url", server[0], "--data", data, "--images", images, "--out", str(tmp_path / "out")]
    return lambda *more: [*flags, "--concurrency", "2", *more]


def thoughts(tmp_path):
    rows = load_dataset(str(tmp_path / "out" / "rows.jsonl"), str(tmp_path / "tasks"), cache_dir=tmp_path / "arrow")
    return rows["thinking"][:]


EXPECTED = ["it loads"] * 2 + ["still loading"] * 2 + [""] * 2


def test_what_led_to_a_right_answer_is_kept(line, server, tmp_path, capsys):
    assert think.main(line()) == 0
    assert thoughts(tmp_path) == EXPECTED
    assert "4 of 6 rows have thinking now (answer is wrong 2)" in capsys.readouterr().out
    assert {task: sum(n for (own, _), n in server[1].items() if own == task) for task in "123"} == {
        "1": 2, "2": 8, "3": 8,
    }  # fmt: skip
    before = sum(server[1].values())
    assert think.main(line()) == 0
    assert sum(server[1].values()) == before  # nothing is asked again
    # The rows that it wrote bring their thinking: those are not asked for.
    again = ["--data", str(tmp_path / "out" / "rows.jsonl"), "--out", str(tmp_path / "more"), "--tries", "1"]
    assert think.main(line(*again)) == 0
    assert sum(server[1].values()) == before + 2
    assert [json.loads(text).get("thinking", "") for text in (tmp_path / "more" / "rows.jsonl").open()] == EXPECTED


def test_killed_it_goes_on_with_the_rest(line, server, tmp_path):
    _, asked, pause = server
    pause[0] = 0.1
    answers = tmp_path / "out" / "answers.jsonl"
    kept = killed("overlay.evaluate.think", line(), answers, 7)
    assert not (tmp_path / "out" / "rows.jsonl").exists()
    before, pause[0] = sum(asked.values()), 0.0
    assert think.main(line()) == 0
    contents = [json.loads(text)["content"] for text in answers.open()]
    assert len(contents) == len(set(contents)) == kept + sum(asked.values()) - before
    assert thoughts(tmp_path)[:2] == EXPECTED[:2]
    assert thoughts(tmp_path)[4:] == EXPECTED[4:]


def test_replies_that_do_not_come_are_said(line, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(REPLIES, "3", [None])
    assert think.main(line()) == 3
    assert "think: 8 replies did not come: start again" in capsys.readouterr().err
    assert thoughts(tmp_path) == EXPECTED


def verdict_of(thinking, kind="wait", also=()):
    """What is said of a reply to a row whose gold is to wait."""
    return think.judged({"solution": action("wait"), "screen": Screen(also=also)}, said(thinking, kind), "box")


def test_thinking_that_holds_a_mark_of_the_chat_template_is_not_kept():
    assert verdict_of("a menu") == ("a menu", "")
    assert verdict_of("tap the <image> button") == ("", think.MARKS)
    assert verdict_of("it ends <|im_end|>") == ("", think.MARKS)


def test_a_further_right_action_is_not_what_is_imitated():
    assert verdict_of("back it is", "back", (Action("back"),)) == ("", think.WRONG)
    assert verdict_of("a menu", also=(Action("back"),)) == ("a menu", "")


def test_refused_in_one_line(line, tmp_path, capsys):
    flags = line()
    rows = [json.loads(text) | {"thinking": "yes"} for text in (tmp_path / "rows.jsonl").open()]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert think.main(flags) == 2
    assert "rows.jsonl: no row is without thinking" in capsys.readouterr().err
    assert think.main([*flags, "--tries", "0"]) == 2
    assert "--tries 0: a number of at least 1" in capsys.readouterr().err
    assert think.main([*flags, "--temperature", "0"]) == 2
    assert "--temperature 0: 4 tries would be one answer" in capsys.readouterr().err


@pytest.mark.parametrize("text", [
    "x=120, y=340", "横坐标120，纵坐标340", "[120 340]", "(120; 340)", "at 120, 340", "点击 120，340", "box 1,2,3,4",
    "tap 120,340", "(0.52,0.31)", "X: 12",
])  # fmt: skip
def test_a_place_is_found(text):
    assert think.PLACE.search(f"so {text} it is")


@pytest.mark.parametrize("text", [
    "1,000 items", "on 3, 4 May", "12,345,678 users", "step 2 of 5", "3、4月", "(1,000 items)", "at 10:30",
    "iPhone 15, iOS",
])  # fmt: skip
def test_other_numbers_are_none(text):
    assert not think.PLACE.search(f"so {text} it is")
