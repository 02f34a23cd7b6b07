"""Coordinate spaces: there and back, against the real processor, and through both backends' rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from overlay.action.action import parse_action
from overlay.action.space import SPACES, Space, rescale, rescale_action, seen_size
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_examples, as_rows
from overlay.pages.drawing import shape
from overlay.prompt.style import PromptStyle
from overlay.rewards import REWARDS

SIDES = st.integers(28, 4000)


@given(SIDES, SIDES, st.integers(784, 100_000), st.integers(100_000, 13_000_000))
def test_seen_size_is_the_processors(width, height, low, high):
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    if max(width, height) / min(width, height) <= 200:
        assert seen_size(width, height, low, high) == smart_resize(height, width, 28, low, high)[::-1]


@pytest.mark.parametrize(
    ("limit", "seen"),
    [(12_845_056, (1092, 2408)), (1_003_520, (672, 1484)), (401_408, (420, 924))],
)
def test_a_usual_phone(limit, seen):
    assert seen_size(1080, 2400, 3136, limit) == seen


@pytest.mark.integration
@pytest.mark.parametrize("size", [(1368, 2706), (1080, 2400), (720, 1280), (336, 448), (2400, 1080), (30, 30)])
@pytest.mark.parametrize("limit", [12_845_056, 1_003_520, 84 * 112])
def test_the_real_processor_makes_that_size(size, limit, tiny_model_dir):
    from overlay.model.processor import load_processor

    processor = load_processor(str(tiny_model_dir), 3136, limit)
    _, rows, columns = processor.image_processor(images=[Image.new("RGB", size)])["image_grid_thw"][0].tolist()
    assert (columns * 14, rows * 14) == seen_size(*size, 3136, limit)
    sx, sy = Space("resized", 3136, limit).scale(*size)
    assert (round(size[0] * sx), round(size[1] * sy)) == (columns * 14, rows * 14)


@given(
    st.sampled_from(SPACES), SIDES, SIDES,
    st.tuples(*[st.floats(0, 1)] * 4),
)  # fmt: skip
def test_there_and_back(name, width, height, parts):
    scale = Space(name).scale(width, height)
    box = tuple(part * side for part, side in zip(parts, (width, height) * 2, strict=True))
    assert rescale(rescale(box, scale), scale, back=True) == pytest.approx(box, abs=1e-6)
    if name == "norm1000":
        assert all(0 <= value <= 1000.000001 for value in rescale(box, scale))


def test_an_unknown_space_is_named():
    with pytest.raises(ValueError, match="--coordinate_space 'screen' is none of original, resized, norm1000"):
        Space("screen")


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ({"click": "100,200,300,400"}, {"click": "50,50,150,100"}),
        ({"long_click": [100, 200]}, {"long_click": "50,50"}),
        ({"swipe": "101,1000,101,201"}, {"swipe": "50,250,50,50"}),
        ({"type": "100,200,300,400"}, {"type": "100,200,300,400"}),  # typed text is no place
        ({"click": "nowhere"}, {"click": "nowhere"}),
    ],
)
def test_only_places_are_rescaled(gold, expected):
    (kind,) = gold
    text = json.dumps({"action_type": kind, "action_parameter": gold, "action_description": "点击"}, ensure_ascii=False)
    changed = json.loads(rescale_action(text, (0.5, 0.25)))
    assert changed == {"action_type": kind, "action_parameter": expected, "action_description": "点击"}
    assert rescale_action(text, (1.0, 1.0)) == text
    assert rescale_action("no JSON", (0.5, 0.5)) == "no JSON"


@pytest.mark.parametrize("view", [as_examples, as_rows])
def test_rows_bring_gold_in_the_models_space(view, tmp_path):
    Image.new("RGB", (1368, 2706)).save(tmp_path / "screen.png")
    gold = json.dumps({"action_type": "click", "action_parameter": {"click": "684,1353,1368,2706"}})
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": gold}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "image": "screen.png", "conversations": turns}) + "\n")
    rows = load_dataset(str(tmp_path / "rows.jsonl"), str(tmp_path), "gui_action", tmp_path / "arrow")

    def first(name):
        return view(rows, PromptStyle(language="en", space=Space(name, 3136, 1_003_520)))[0]

    assert first("original")["coordinate_scale"] == [1.0, 1.0]
    example = first("resized")
    across, down = seen_size(1368, 2706, 3136, 1_003_520)
    assert f'"{across // 2},{round(down / 2)},{across},{down}"' in example["solution"]
    # An answer in the model's own pixels is right, one in original pixels is not; drawing finds the way back.
    for point, low, high in (((across * 3 // 4, down * 3 // 4), 0.75, 1), ((1026, 2029), 0, 0.2)):
        answer = f'{{"action_type": "click", "action_parameter": {{"click": [{point[0]}, {point[1]}]}}}}'
        completion = [[{"role": "assistant", "content": f"<answer>{answer}</answer>"}]]
        assert low <= REWARDS["gui_action"](completion, solution=[example["solution"]])[0] <= high
    box = shape(parse_action(example["solution"]), "gold", tuple(example["coordinate_scale"]))["box"]
    assert box == pytest.approx((684, 1353, 684, 1353), abs=2)
    thousand = first("norm1000")
    assert '"500,500,1000,1000"' in thousand["solution"]
    assert "0 to 1000" in thousand["prompt"][0]["content"][0]["text"]
