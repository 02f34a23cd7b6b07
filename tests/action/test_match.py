import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from overlay.action.action import ACTION_NAMES, as_box, centre, contains, iou, parse_coordinates
from overlay.rewards import REWARDS


def action(kind, parameter, **more):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}, **more}, ensure_ascii=False)


def score(answer, gold, wrap="<answer>{}</answer>"):
    text = wrap.replace("{}", answer)
    completions = [[{"role": "assistant", "content": text}]]
    (value,) = REWARDS["gui_action"](completions, solution=[gold], images=[None])
    return value


GOLD = action("click", "37,378,227,633")


@pytest.mark.parametrize(
    "gold",
    [
        action("open_app", "微信"), GOLD, action("long_click", "1,2,3,4"), action("type", "无锡"),
        action("swipe", "158,1557,122,1253"), action("task_completed", "已完成"), action("task_impossible", "不行"),
        action("task_completed", ""), action("wait", ""), action("back", ""),
        action("inquiry", '{"Question": "哪一个？", "CandidatesList": ["甲"], "PicDescribe": "", "AnswerIndex": 0}'),
    ],
)  # fmt: skip
def test_exact_match_is_one_and_another_type_zero(gold):
    assert score(gold, gold) == 1.0
    assert score(gold, f"<answer> {gold} </answer>") == 1.0  # the gold as upstream's loader writes it
    kind = json.loads(gold)["action_type"]
    parameter = json.loads(gold)["action_parameter"][kind]
    for other in ACTION_NAMES:
        if other != kind:
            assert score(action(other, parameter), gold) == 0.0


def test_click_ranking():
    # The measured faults of a text reward: far boxes, wrong types and waits must not win.
    ranked = [
        GOLD,
        action("click", "47,388,237,643"),  # 10 px off
        action("click", "100,400,220,600"),  # small, inside
        action("click", "132,505"),  # a point inside
        action("click", "200,600,300,800"),  # overlaps, its centre outside
        action("click", "240,640,300,700"),  # near
        action("click", "900,1900,1000,2000"),  # far
        action("long_click", "37,378,227,633"),
    ]
    scores = [score(answer, GOLD) for answer in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)
    assert score(action("wait", ""), GOLD) == 0.0
    giant = score(action("click", "0,0,100000,100000"), GOLD)
    assert giant < score(action("click", "132,505"), GOLD)


@pytest.mark.parametrize(
    "parameter",
    [
        "37, 378, 227, 633", " 37 ,378,227,633 ", "[37,378,227,633]", "(37, 378), (227, 633)",
        "37.0,3.78e2,+227,633.00",
        "37，378，227，633", "37 378 227 633", [37, 378, 227, 633], [[37, 378], [227, 633]],
        ["37", "378", "227", "633"],
        "227,633,37,378",  # the other two corners
    ],
)  # fmt: skip
def test_spelling_does_not_matter(parameter):
    assert score(action("click", parameter), GOLD) == 1.0


def test_key_order_and_space_do_not_matter():
    reordered = (
        '{ "action_description": "x",\n "action_parameter" : {"click":"37,378,227,633"}, "action_type":"click" }'
    )
    assert score(reordered, GOLD) == 1.0
    assert score('{"action_type": "CLICK ", "action_parameter": {"click": "37,378,227,633"}}', GOLD) == 1.0


@pytest.mark.parametrize(
    "parameter",
    ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "NaN,1,2,3", "1e308,1,2,3", "inf,1,2,3", None, {}, [], [True, 1, 2, 3], 7,
     [10**400, 1, 2, 3], "1_0,2,3,4", [[[1]], 2, 3, 4], "9" * 1000],
)  # fmt: skip
def test_no_coordinates_score_zero(parameter):
    assert score(action("click", parameter), GOLD) == 0.0


@pytest.mark.parametrize(
    "answer",
    ["", "null", "[]", "123", "click", '{"action_type": 5}', '{"action_type": null}', "{" * 1000, "[" * 100_000,
     '{"action_type": "click", "action_parameter": "far away"}', '{"action_parameter": {"click": "37,378,227,633"}}'],
)  # fmt: skip
def test_no_action_scores_zero(answer):
    assert score(answer, GOLD) == 0.0


def test_parameter_under_another_name_is_none():
    wrong = '{"action_type": "click", "action_parameter": {"type": "37,378,227,633"}}'
    assert score(wrong, GOLD) == 0.0


def test_answers_count_where_they_stand():
    assert score(GOLD, GOLD, wrap="<think><answer>{}</answer></think>") == 0.0  # hidden in think
    assert score(GOLD, GOLD, wrap="{}") == 1.0  # no tags at all: format's business
    wait = action("wait", "")
    assert score(GOLD, GOLD, wrap=f"<answer>{{}}</answer><answer>{wait}</answer>") == 0.0  # the last answer counts
    described = action("wait", "", action_description="click 37,378,227,633")
    assert score(described, GOLD) == 0.0


def test_swipe_direction_first_then_ends():
    gold = action("swipe", "158,1557,122,1253")  # up
    same = score(action("swipe", "160,1550,120,1250"), gold)
    far_up = score(action("swipe", "900,2500,900,2400"), gold)
    down_on_the_spot = score(action("swipe", "122,1253,158,1557"), gold)
    assert 1.0 > same > far_up > down_on_the_spot > 0.0
    assert score(action("swipe", "158,1557,158,1557"), gold) < far_up  # no movement
    assert score(action("swipe", "158,1557"), gold) == 0.0


def test_chinese_text_by_characters_in_order():
    gold = action("type", "无锡太湖")
    exact, close, reordered, none = (score(action("type", t), gold) for t in ("无锡太湖", "无锡太", "湖太锡无", "北京"))
    assert exact == 1.0
    assert exact > close > reordered > none > 0.0
    assert score(action("type", "１２３"), action("type", "123")) == 1.0  # full-width digits
    assert score(action("open_app", "wechat"), action("open_app", "WeChat")) == 1.0
    assert score(action("type", "abc"), action("type", "ABC")) < 1.0  # typed text keeps its case


def test_inquiry_question_and_index():
    def ask(question, index):
        return action("inquiry", json.dumps({"Question": question, "AnswerIndex": index}, ensure_ascii=False))

    gold = ask("去哪一个车站？", 1)
    assert score(ask("去哪一个车站？", "1"), gold) == 1.0
    assert 1.0 > score(ask("去哪个车站？", 1), gold) > score(ask("去哪一个车站？", 2), gold)
    assert score(ask("去哪一个车站？", 2), gold) > score(action("inquiry", "{}"), gold) > 0.0
    assert score(action("inquiry", "去哪一个车站？"), gold) > 0.5  # not JSON: taken as the question


number = st.integers(0, 2000)
size = st.integers(1, 1500)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), number, number, size, size)
near = st.integers(-300, 300)


def spell(numbers):
    return ",".join(map(str, numbers))


def moved(box, by):
    return box[0] + by[0], box[1] + by[1], box[2] + max(by[0], by[2]), box[3] + max(by[1], by[3])


@given(gold=boxes, shifts=st.lists(st.tuples(near, near, near, near), min_size=2, max_size=2))
def test_click_order(gold, shifts):
    a, b = (moved(gold, by) for by in shifts)
    inside = [contains(gold, *centre(box)) for box in (a, b)]
    first, second = (score(action("click", spell(box)), action("click", spell(gold))) for box in (a, b))
    assert 0.0 <= first <= 1.0
    if inside[0] and not inside[1]:
        assert first > second
    if inside[0] == inside[1] and iou(a, gold) > iou(b, gold):
        assert first >= second


share = st.floats(0, 1)


@given(gold=boxes, fx=share, fy=share, box=boxes)
def test_point_inside_beats_what_lies_outside(gold, fx, fy, box):
    assume(not contains(gold, *centre(box)))
    x, y = round(gold[0] + fx * (gold[2] - gold[0])), round(gold[1] + fy * (gold[3] - gold[1]))
    gold_text = action("click", spell(gold))
    assert score(action("click", f"{x},{y}"), gold_text) > score(action("click", spell(box)), gold_text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(kind=st.sampled_from([*ACTION_NAMES, "other"]), mine=json_values, gold_kind=st.sampled_from(list(ACTION_NAMES)),
       theirs=json_values)  # fmt: skip
def test_any_parameters_have_a_score(kind, mine, gold_kind, theirs):
    value = score(action(kind, mine), action(gold_kind, theirs))
    assert 0.0 <= value <= 1.0
    assert kind == gold_kind or value == 0.0


@given(st.text(st.characters(), max_size=60), st.text(st.characters(categories=["Cs", "So", "Lo"]), max_size=10))
def test_any_text_has_a_score(text, odd):
    for answer in (text, odd, action("type", odd), action("click", text)):
        for gold in (GOLD, action("type", text), text):
            assert 0.0 <= score(answer, gold) <= 1.0


def test_megabytes():
    long = "长" * 1_000_000
    assert 0.0 < score(action("type", long), action("type", "长")) < 0.2
    assert score(action("click", long), GOLD) == 0.0
    assert score("<answer>" * 100_000, GOLD) == 0.0


@given(boxes)
def test_parse_coordinates_reads_what_is_written(box):
    assert parse_coordinates(spell(box)) == as_box(box) == parse_coordinates(list(box))


def test_accuracy_uses_each_rows_method():
    wait = action("wait", "")
    completions = [[{"role": "assistant", "content": f"<answer>{wait}</answer>"}]] * 2
    methods = ["gui_action", "gui_action"]
    assert REWARDS["accuracy"](completions, solution=[wait, GOLD], accu_reward_method=methods) == [1.0, 0.0]
