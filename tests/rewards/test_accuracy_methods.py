"""Every accuracy method against upstream's own value, case by case, and the cases where upstream is wrong."""

import json

import pytest

from overlay.rewards.accuracy import METHODS, SCORES, accuracy_reward


def boxes(*items, fence="json"):
    data = [{"bbox_2d": list(box), "label": label} for box, label in items]
    return f"```{fence}\n{json.dumps(data)}\n```"


CAT, DOG = ((10, 10, 110, 110), "cat"), ((200, 50, 300, 250), "dog")
SHIFTED, OFF = ((20, 10, 120, 110), "cat"), ((400, 400, 500, 500), "cat")
# (method, answers, gold): each answer stands in an answer pair behind a think pair, gold in an answer pair.
CASES = [
    ("default", ["42", "42.0", "41", "the number 42", "\\frac{84}{2}", "", "$42$", "4 2"], "42"),
    ("default", ["Paris", "paris.", "paris\n", "Rome", "The city is Paris", "", "巴黎"], "Paris"),
    ("default", ["B", "B.", "The answer is B.", "A. or B.", "C.", "b", "no letter here"], "B."),
    ("default", ['{"a": 1}', '{"a": 2}', "[1, 2]", "a1"], '{"a": 1}'),
    ("default", ["打开设置", "打开 设置", "关闭设置", "x"], "打开设置"),
    ("mcq", ["B", "B.", "b)", "I choose B.", "The answer is A. No, B.", "A. B. C.", "D"], "B"),
    ("mcq", ["正确答案是 B。", "", "BAD"], "B"),
    ("mcq", ["C: because A is wrong.", "A, B, C, D", "C"], "C. The third"),
    ("yes_no", ["Yes", "yes, it is", "No", "Well, no.", "NO!", ""], "yes"),
    ("yes_no", ["No.", "yes"], "No, it is not"),
    ("math", ["x^2 + 2x", "2x + x^2", "$\\boxed{x^2+2x}$", "x^2", ""], "x^2+2x"),
    ("math", ["0.5", "1/2", "\\frac{1}{2}", "$\\frac12$", "50%", "2"], "\\frac{1}{2}"),
    ("all_match", ["one two", "One\nTwo", "one two.", "one  two", "two one", ""], "One two."),
    ("map", [boxes(CAT, DOG), boxes(CAT), boxes(SHIFTED, DOG), boxes(OFF), boxes(CAT, CAT), "nothing", boxes(),
             boxes(((10, 10, 110, 110), "cow")), "```json\nbroken\n```"], boxes(CAT, DOG)),
    ("map", [boxes(CAT), boxes(), "none"], boxes()),
    ("od_ap", [boxes(CAT, DOG), boxes(SHIFTED), boxes(OFF), "None", boxes()], boxes(CAT, DOG)),
    ("od_ap", ["None", boxes(CAT), ""], "None"),
    ("od_ap50", [boxes(SHIFTED, DOG), boxes(CAT), boxes(OFF)], boxes(CAT, DOG)),
    ("odLength", [boxes(CAT), boxes(CAT, DOG, OFF), boxes(CAT, CAT, CAT), "None"], boxes(CAT, DOG)),
    ("odLength", ["None", boxes(CAT)], "None"),
    ("weighted_sum", [boxes(CAT, DOG), boxes(SHIFTED), boxes(CAT, DOG, OFF), boxes(OFF), "none", boxes(),
                      boxes(((10, 10, 110, 110), "cow"))], boxes(CAT, DOG)),
    ("weighted_sum", ["None", "none.", boxes(CAT)], "None"),
]  # fmt: skip
PAIRS = [(method, answer, gold) for method, answers, gold in CASES for answer in answers]


def completion(answer):
    return f"<think>I look at it.</think><answer>{answer}</answer>"


@pytest.fixture(scope="module")
def theirs(upstream):
    """Upstream's accuracy_reward with the series' repairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(upstream / "src"))
        from open_r1 import grpo_jsonl

        yield grpo_jsonl.accuracy_reward


def ask(reward, method, text, gold):
    return reward([[{"role": "assistant", "content": text}]], [gold], accu_reward_method=[method])[0]


@pytest.mark.integration
@pytest.mark.parametrize(("method", "answer", "gold"), PAIRS)
def test_the_value_is_upstreams(theirs, method, answer, gold, capsys):
    expected = ask(theirs, method, completion(answer), f"<answer> {gold} </answer>")
    assert ask(accuracy_reward, method, completion(answer), f"<answer> {gold} </answer>") == pytest.approx(expected)
    assert ask(accuracy_reward, method, completion(answer), gold) == pytest.approx(expected)  # without tags, as in TRL


# (method, completion, gold, upstream's value or the exception it raises, ours): docs/rewards.md gives the reasons.
DIFFERENT = [
    # the answer is the last pair outside the think part
    ("mcq", "<think><answer>B</answer></think><answer>C</answer>", "B", 1.0, 0.0),
    ("yes_no", "<think>is it <answer>yes</answer>?</think><answer>no</answer>", "yes", 1.0, 0.0),
    ("all_match", "<answer>gold</answer><think><answer>x</answer></think>", "gold", 0.0, 1.0),
    # without an answer pair the reasoning is not the answer
    ("mcq", "<think>It is B.</think>", "B", 1.0, 0.0),
    # yes and no are words
    ("yes_no", "<answer>I know nothing</answer>", "no", 1.0, 0.0),
    ("yes_no", "<answer>maybe</answer>", "it depends", 1.0, 0.0),
    # malformed boxes are wrong, not an exception that ends the run
    ("weighted_sum", completion('```json\n[{"bbox_2d": [10, 10, 110, 110]}]\n```'), boxes(CAT), UnboundLocalError, 0.3),
    ("map", completion('```json\n[{"bbox_2d": ["a", 1, 2, 3], "label": "cat"}]\n```'), boxes(CAT), 0.0, 0.0),
    ("map", completion("```json\n7\n```"), boxes(CAT), 0.0, 0.0),
    ("od_ap", completion(boxes(CAT)), "nothing of that kind", 0.0, 0.0),
]  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize(("method", "text", "gold", "upstreams", "ours"), DIFFERENT)
def test_where_upstream_is_wrong(theirs, method, text, gold, upstreams, ours, capsys):
    if isinstance(upstreams, float):
        assert ask(theirs, method, text, f"<answer> {gold} </answer>") == upstreams
    else:
        with pytest.raises(upstreams):
            ask(theirs, method, text, f"<answer> {gold} </answer>")
    assert ask(accuracy_reward, method, text, gold) == pytest.approx(ours)


def test_every_documented_method_is_here():
    documented = "default mcq yes_no llm map math weighted_sum od_ap od_ap50 odLength all_match gui_action"
    assert set(METHODS) == set(documented.split())
    assert {method for method, _, _ in CASES} == set(SCORES) - {"gui_action"}
