"""Answers against gold actions with the score each must get, worked out by hand from docs/rewards.md.

Geometry is kept round so that the arithmetic can be checked by eye: the gold box is 100 x 100 with a diagonal of
141.42, the gold swipe is 400 long; a text's similarity is 1 - (insertions + deletions) / (both lengths).
"""

import json

import pytest
from PIL import Image

from overlay.action.space import SPACES, Space, rescale_action
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_rows
from overlay.metrics.flags import row_flags
from overlay.prompt.style import PromptStyle
from overlay.rewards import REWARDS
from overlay.serve.client import Answer

BOX = "100,100,200,200"
# answered coordinates: score
CLICKS = {
    # the box itself, however it is spelled
    "100,100,200,200": 1, "200,200,100,100": 1, "[100, 100, 200, 200]": 1, "100 100 200 200": 1, "1e2,1e2,2e2,2e2": 1,
    "100,200,200,100": 1, "(100,100),(200,200)": 1,
    # a point inside or on the edge: 0.75
    "150,150": 0.75, "100,100": 0.75, "200,200": 0.75, "100,150": 0.75, "101,199": 0.75, "[150,150]": 0.75,
    # a box centred inside: 0.75 + IoU / 4
    "125,125,175,175": 0.8125,  # 2500 / 10000
    "100,100,200,150": 0.875,  # 5000 / 10000
    "100,100,150,150": 0.8125,  # a quarter
    "50,50,250,250": 0.8125,  # 10000 / 40000
    "0,100,300,200": 0.75 + 1 / 12,  # 10000 / 30000
    "100,0,200,300": 0.75 + 1 / 12,
    "150,100,250,200": 0.75 + 1 / 12,  # its centre is on the edge: 5000 / 15000
    "100,110,200,210": 0.75 + 9 / 44,  # 9000 / 11000
    "110,100,210,200": 0.75 + 9 / 44,
    "100,100,200,199": 0.9975,  # 9900 / 10000
    "140,140,160,160": 0.76,  # 400 / 10000
    "150,150,151,151": 0.750025,  # 1 / 10000
    "-850,-850,1150,1150": 0.750625,  # 10000 / 4000000: a giant box earns hardly more than a point
    # overlapping, centred outside: 0.1 + 0.4 IoU
    "160,100,260,200": 0.2,  # 4000 / 16000
    "180,100,280,200": 0.1 + 0.4 / 9,  # 2000 / 18000
    "100,160,200,260": 0.2,
    "0,0,150,150": 0.1 + 0.4 * 2500 / 30000,  # centre 75,75
    "199,199,299,299": 0.1 + 0.4 / 19999,  # one pixel of overlap
    "0,0,1000,1000": 0.1 + 0.4 / 100,  # the whole screen, centred at 500,500
    # beside it: 0.1 / (1 + distance of the centre in diagonals)
    "200,100,300,200": 0.1 / (1 + 50 / 141.42136),  # 50 px to the right of the edge
    "300,150": 0.1 / (1 + 100 / 141.42136),
    "150,300": 0.1 / (1 + 100 / 141.42136),
    "0,150": 0.1 / (1 + 100 / 141.42136),
    "300,300": 0.1 / (1 + 1),  # one diagonal from the corner
    "400,400": 0.1 / (1 + 2),
    "1200,150": 0.1 / (1 + 1000 / 141.42136),
    # nothing that names a place
    "": 0, "100": 0, "100,100,200": 0, "1,2,3,4,5": 0, "here": 0, "NaN,NaN": 0, "1e308,1e308": 0, "一百,一百": 0,
}  # fmt: skip
UP = "500,1000,500,600"
SWIPES = {
    "500,1000,500,600": 1,
    # the gold direction: 0.6 + 0.4 / (1 + mean distance of the ends / 400)
    "500,1000,500,800": 0.6 + 0.4 / (1 + 100 / 400),  # half as long: ends 0 and 200 away
    "500,1000,500,200": 0.6 + 0.4 / (1 + 200 / 400),
    "600,1000,600,600": 0.6 + 0.4 / (1 + 100 / 400),  # beside it
    "500,1400,500,1000": 0.6 + 0.4 / (1 + 400 / 400),
    "500,600,500,200": 0.6 + 0.4 / (1 + 400 / 400),
    "530,1040,530,640": 0.6 + 0.4 / (1 + 50 / 400),  # 3-4-5
    "500,1000,600,600": 0.6 + 0.4 / (1 + 50 / 400),  # slanted, still up
    "500,1000,500,999": 0.6 + 0.4 / (1 + 199.5 / 400),
    # another direction: 0.1 / (1 + ...)
    "500,600,500,1000": 0.1 / (1 + 400 / 400),  # down
    "500,1000,900,1000": 0.1 / (1 + 282.842712 / 400),  # right: the end is 400 * sqrt 2 away
    "500,1000,100,1000": 0.1 / (1 + 282.842712 / 400),  # left
    "500,1000,500,1000": 0.1 / (1 + 200 / 400),  # no movement
    "500,1000": 0, "": 0, "up": 0,
}  # fmt: skip
# (type, answer, gold): similarity; the score is 0.1 + 0.9 of it
TEXTS = {
    ("type", "无锡", "无锡"): 1,
    ("type", "无锡", "无锡太湖"): 4 / 6,
    ("type", "无锡太湖", "无锡"): 4 / 6,
    ("type", "太湖", "无锡太湖"): 4 / 6,
    ("type", "锡无", "无锡"): 1 / 2,  # one of two stays in order
    ("type", "湖太锡无", "无锡太湖"): 1 / 4,
    ("type", "北京", "无锡"): 0,
    ("type", "北京市", "北京"): 4 / 5,
    ("type", "上海", "海上"): 1 / 2,
    ("type", "明天天气", "今天天气"): 3 / 4,
    ("type", "我想订一张票", "我想订两张票"): 10 / 12,
    ("type", "", "无锡"): 0,
    ("type", "无锡", ""): 0,
    ("type", "", ""): 1,
    ("type", " 无锡 ", "无锡"): 1,
    ("type", "无锡\n", "无锡"): 1,
    ("type", "１２３", "123"): 1,  # full width
    ("type", "ＡＢＣ", "ABC"): 1,
    ("type", "abc", "ABC"): 0,  # typed text keeps its case
    ("type", "hello world", "hello  world"): 1,
    ("type", "kitten", "sitting"): 1 - 5 / 13,  # -k +s -e +i +g
    ("type", "abcd", "abce"): 6 / 8,
    ("type", "12345", "12354"): 8 / 10,
    ("type", "公交车", "公共汽车"): 1 - 3 / 7,  # 公 and 车 stay
    ("type", "2026-11-23", "2026-11-24"): 18 / 20,
    ("type", "http://a.b", "https://a.b"): 20 / 21,
    ("type", "你好，世界", "你好,世界"): 1,  # NFKC makes the comma plain
    ("open_app", "微信", "微信"): 1,
    ("open_app", "Google Maps", "google maps"): 1,
    ("open_app", "淘宝", "拼多多"): 0,
    ("open_app", "京东商城", "京东"): 4 / 6,
    ("open_app", "微信读书", "微信"): 4 / 6,
    ("open_app", "QQ", "微信"): 0,
    ("open_app", "wechat", "WeChat"): 1,
    ("open_app", "支付宝", "支付宝"): 1,
    ("open_app", "支付", "支付宝"): 4 / 5,
    ("open_app", "高德地图", "百度地图"): 4 / 8,
    ("open_app", "美团外卖", "美团"): 4 / 6,
    ("task_completed", "已完成", "已完成"): 1,
    ("task_completed", "完成", "已完成"): 4 / 5,
    ("task_completed", "The task is done", "the task is done"): 1,
    ("task_completed", "失败", "已完成"): 0,
    ("task_impossible", "需要登录", "需要登录"): 1,
    ("task_impossible", "登录", "需要登录"): 4 / 6,
    ("task_impossible", "网络错误", "需要登录"): 0,
}
# (answered question, answered index, gold question, gold index): 0.1 + 0.6 similarity + 0.3 for the index
INQUIRIES = {
    ("哪一个？", 0, "哪一个？", 0): 1,
    ("哪一个？", 1, "哪一个？", 0): 0.7,
    ("哪个？", 0, "哪一个？", 0): 0.1 + 0.6 * 6 / 7 + 0.3,
    ("哪个？", 1, "哪一个？", 0): 0.1 + 0.6 * 6 / 7,
    ("哪一个？", "0", "哪一个？", 0): 1,
    ("多少钱", 0, "哪一个？", 0): 0.4,
    ("多少钱", 2, "哪一个？", 0): 0.1,
    ("", 0, "哪一个？", 0): 0.4,
    ("Which one?", 2, "Which one?", 2): 1,
    ("which one?", 2, "Which one?", 2): 1,
    ("Which?", 2, "Which one?", 2): 0.1 + 0.6 * 12 / 16 + 0.3,
    ("Which one?", None, "Which one?", 2): 0.7,
}
TYPES = ("open_app", "click", "long_click", "type", "swipe", "task_completed", "task_impossible", "wait", "back")
THINK = (
    '{"task_interpretation": "找搜索框", "current_page_audit": "首页", "path_alignment_check": "第一步", '
    '"action_validation": "可以点击"}'
)
# text: graded format
FORMATS = {
    f"<think>{THINK}</think><answer>{{}}</answer>": 2.5,
    f"<think>{THINK}</think>\n<answer>\n{{}}\n</answer>": 2.5,
    f"好的。<think>{THINK}</think><answer>[1]</answer>。": 2.5,
    f"<answer>{{}}</answer><think>{THINK}</think>": 2.5,  # both pairs are there
    f"<think>{THINK}</think><answer>点击搜索</answer>": 2.0,
    f"<think>{THINK}</think><answer></answer>": 2.0,
    f"<think>{THINK}</think>": 1.5,
    f"<think>{THINK}</think><answer>{{}}": 1.5,
    f"<think>{THINK}": 0,
    '<think>{"task_interpretation": 1}</think><answer>{}</answer>': 2.0,
    "<think>{}</think><answer>{}</answer>": 2.0,
    "<think>[]</think><answer>{}</answer>": 2.0,
    "<think>null</think><answer>null</answer>": 2.0,
    "<think>123</think><answer>456</answer>": 2.0,
    '<think>"文字"</think><answer>"文字"</answer>': 2.0,
    "<think>文字</think><answer>{}</answer>": 1.5,
    "<think>文字</think><answer>文字</answer>": 1.0,
    "<think></think><answer></answer>": 1.0,
    "<answer>{}</answer>": 1.0,
    "<answer>文字</answer>": 0.5,
    "<think>文字</think>": 0.5,
    "<think>{}</think>": 1.0,
    "</think><think>": 0,
    "</answer>{}<answer>": 0,
    "<THINK>{}</THINK><ANSWER>{}</ANSWER>": 0,
    "<think>{'a': 1}</think><answer>{'a': 1}</answer>": 1.0,  # no JSON
    "<think>NaN</think><answer>Infinity</answer>": 1.0,
    "点击搜索": 0,
    "": 0,
}


def action(kind, parameter):
    return json.dumps({"action_type": kind, "action_parameter": {kind: parameter}}, ensure_ascii=False)


def inquiry(question, index):
    return action("inquiry", json.dumps({"Question": question, "AnswerIndex": index}, ensure_ascii=False))


SAMPLE = dict.fromkeys(TYPES, "x") | {"click": BOX, "long_click": BOX, "swipe": UP, "wait": "", "back": ""}
ACTIONS = [
    *((action("click", given), action("click", BOX), score) for given, score in CLICKS.items()),
    *((action("long_click", given), action("long_click", BOX), score) for given, score in CLICKS.items()),
    *((action("swipe", given), action("swipe", UP), score) for given, score in SWIPES.items()),
    *((action(kind, a), action(kind, b), 0.1 + 0.9 * same) for (kind, a, b), same in TEXTS.items()),
    *((inquiry(*pair[:2]), inquiry(*pair[2:]), score) for pair, score in INQUIRIES.items()),
    *((action(a, SAMPLE[a]), action(b, SAMPLE[b]), float(a == b)) for a in TYPES for b in TYPES),
    # broken JSON is repaired, at nine tenths; what cannot be repaired is nothing
    (action("click", BOX)[:-1], action("click", BOX), 0.9),
    (action("click", BOX).replace('"', "'"), action("click", BOX), 0.9),
    (f"```json\n{action('click', BOX)}\n```", action("click", BOX), 0.9),
    (action("click", "150,150")[:-2], action("click", BOX), 0.9 * 0.75),
    (action("type", "无锡")[:-1], action("type", "无锡太湖"), 0.9 * 0.7),
    (f"```JSON\n{action('click', BOX)}\n```", action("click", BOX), 0.9),
    (f"  ```\n{action('click', BOX)}", action("click", BOX), 0.9),
    # full-width marks and Qwen's tokens: a spelling within a coordinate, broken JSON around it
    *((action("click", f"{a}100，100{b}{a}200，200{b}"), action("click", BOX), 1) for a, b in ("（）", "［］", "【】")),
    (action("click", "１００、１００、２００、２００"), action("click", BOX), 1),
    (action("click", "<|box_start|>(100,100),(200,200)<|box_end|>"), action("click", BOX), 1),
    (action("click", "<point>150 150</point>"), action("click", BOX), 0.75),
    (action("click", BOX).replace(":", "：").replace(", ", "，"), action("click", BOX), 0.9),
    (action("click", BOX).translate(str.maketrans('{}:"', "｛｝：“")), action("click", BOX), 0.9),
    (action("click", BOX).replace(f'"{BOX}"', "［100，100，200，200］"), action("click", BOX), 0.9),
    (action("click", BOX).replace(f'"{BOX}"', "<|box_start|>[100,100,200,200]<|box_end|>"), action("click", BOX), 0.9),
    (action("type", "你好：“世界”，（再见）").replace(": ", "："), action("type", "你好：“世界”，（再见）"), 0.9),
    ("点击 " + action("click", BOX), action("click", BOX), 0),
    ("{" * 100, action("click", BOX), 0),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold", "score"), ACTIONS)
def test_gui_action(answer, gold, score):
    completion = [{"role": "assistant", "content": f"<think>{{}}</think><answer>{answer}</answer>"}]
    assert REWARDS["gui_action"]([completion], solution=[gold]) == [pytest.approx(score, abs=1e-6)]


@pytest.mark.parametrize("space", SPACES)
def test_a_swipe_goes_by_the_screens_shares_in_every_space(tmp_path, space):
    """300 of 1080 pixels across are more of the screen than 400 of 2400 down, as rows come to both trainers."""
    Image.new("RGB", (1080, 2400)).save(tmp_path / "x.png")
    golds = [action("swipe", path) for path in ("900,2000,600,1600", "500,1000,500,600")]  # left, up
    turns = [[{"from": "human", "value": "Go"}, {"from": "gpt", "value": gold}] for gold in golds]
    lines = [json.dumps({"image": "x.png", "conversations": each}) for each in turns]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    rows = load_dataset(str(tmp_path / "rows.jsonl"), str(tmp_path), "gui_action", tmp_path / "arrow")
    for answer_tags in (False, True):  # as each trainer has them
        examples = as_rows(rows, PromptStyle(space=Space(space)), answer_tags)[:]
        scale = examples["coordinate_scale"][0]
        left = rescale_action(action("swipe", "800,1000,500,1000"), scale)
        completions = [[{"role": "assistant", "content": left}]] * 2
        for name in ("gui_action", "accuracy"):
            scores = REWARDS[name](completions, **{key: examples[key] for key in examples if key != "prompt"})
            assert [score > 0.5 for score in scores] == [True, False]


# Without an answer pair: what is finished counts, what is cut does not.
WHOLE = action("click", "100,200,200,300")
BARE = {
    WHOLE: 1, f"<think>{{}}</think>\n{WHOLE}\n": 1, f"```JSON\n{WHOLE}\n```": 0.9, WHOLE.replace('"', "'"): 0.9,
    WHOLE + "</answer>": 0.9, f"<answer>{WHOLE}": 0, f"<think>{{}}</think><answer>{WHOLE}</ans": 0,
    f"<answer>{WHOLE}</answer><answer>{WHOLE[:-1]}": 1, WHOLE[:-1]: 0, WHOLE[:-4]: 0, f"```json\n{WHOLE[:-2]}": 0,
    f"<think>{WHOLE}": 0,
}  # fmt: skip


@pytest.mark.parametrize(("text", "score"), BARE.items())
def test_a_text_without_an_answer_pair(text, score):
    """The same in the reward, the metric and what clients show."""
    completion = [{"role": "assistant", "content": text}]
    assert REWARDS["gui_action"]([completion], solution=[WHOLE]) == [pytest.approx(score, abs=1e-6)]
    assert row_flags(text, WHOLE)["step_success_rate"] == (score > 0)
    assert (Answer(text).action is not None) == (score > 0)


@pytest.mark.parametrize(("text", "score"), FORMATS.items())
def test_format(text, score):
    assert REWARDS["format"]([[{"role": "assistant", "content": text}]]) == [score]


def test_there_are_enough():
    assert len(ACTIONS) - len(TYPES) ** 2 + len(FORMATS) >= 200  # the type gate's square not counted
