"""A gold box through the real processor: into the space that a model counts in, to the reward, back to the screen."""

import json

import pytest
from PIL import Image

from overlay.action.action import parse_action
from overlay.action.clicks import CLICKS
from overlay.action.space import SPACES, Space, rescale
from overlay.data.dataset import load_dataset
from overlay.data.examples import as_rows
from overlay.model.processor import limit_pixels
from overlay.prompt.style import PromptStyle
from overlay.rewards import REWARDS, bound
from tests.families import CELLS, make_processor

pytestmark = pytest.mark.integration
SCREENS = [(1080, 2400), (1368, 2706), (720, 1280), (2400, 1080), (336, 448), (1081, 1919)]
LIMITS = [12_845_056, 1_003_520, 401_408]
SHARES = [(0.1, 0.2, 0.3, 0.26), (0.0, 0.0, 1.0, 1.0), (0.9, 0.95, 0.91, 0.955)]  # of width and height: x1, y1, x2, y2


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """(rows of clicks, their boxes in pixels of their screens, the screens' sizes)"""
    folder, lines, boxes, sizes = tmp_path_factory.mktemp("golds"), [], [], []
    for number, (width, height) in enumerate(SCREENS):
        Image.new("RGB", (width, height)).save(folder / f"{number}.png")
        for shares in SHARES:
            box = [round(share * side) for share, side in zip(shares, (width, height) * 2, strict=True)]
            gold = {"action_type": "click", "action_parameter": {"click": ",".join(map(str, box))}}
            turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": json.dumps(gold)}]
            lines.append(json.dumps({"id": len(lines), "image": f"{number}.png", "conversations": turns}))
            boxes.append(box)
            sizes.append((width, height))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    loaded = load_dataset(str(folder / "rows.jsonl"), str(folder), "gui_action", folder / "arrow")
    return loaded, boxes, sizes


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def processed(request):
    """(cell of a family, {(screen, limit): width and height in pixels of the image that its processor makes})"""
    made, cell, sizes = make_processor(request.param, ["a word"]), CELLS[request.param], {}
    for limit in LIMITS:
        limit_pixels(made, 3136, limit)
        for screen in SCREENS:
            _, down, across = made.image_processor(images=Image.new("RGB", screen))["image_grid_thw"][0].tolist()
            sizes[screen, limit] = across * cell // 2, down * cell // 2
    return cell, sizes


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("space", SPACES)
def test_a_gold_box_comes_back_to_its_place_and_earns_all(space, limit, rows, processed):
    loaded, boxes, sizes = rows
    cell, processed = processed
    examples = as_rows(loaded, PromptStyle(space=Space(space, 3136, limit, cell)))
    for example, box, size in zip(examples, boxes, sizes, strict=True):
        scale = example["coordinate_scale"]
        seen = {"original": size, "resized": processed[size, limit], "norm1000": (1000, 1000)}[space]
        assert (size[0] * scale[0], size[1] * scale[1]) == pytest.approx(seen, abs=1e-6)
        told = parse_action(example["solution"]).coordinates
        assert all(0 <= value <= seen[n % 2] for n, value in enumerate(told))
        back = rescale(told, tuple(scale), back=True)
        for n, (came, was) in enumerate(zip(back, box, strict=True)):
            assert abs(came - was) <= max(1, 0.5 / scale[n % 2] + 1e-6)  # rounded to whole numbers of the space
        answer = [[{"role": "assistant", "content": f"<answer>{example['solution']}</answer>"}]]
        for click in CLICKS:
            (reward,) = bound([REWARDS["gui_action"]], None, click)
            assert reward(answer, solution=[example["solution"]]) == [1.0]


def test_a_point_inside_the_box_as_it_is_seen_is_inside_it_on_the_screen(rows, processed):
    """Where the finger lands: the middle of what the model answers, in every space."""
    loaded, boxes, _ = rows
    cell, _ = processed
    for space in SPACES:
        examples = as_rows(loaded, PromptStyle(space=Space(space, 3136, LIMITS[1], cell)))
        for example, box in zip(examples, boxes, strict=True):
            told = parse_action(example["solution"]).coordinates
            middle = ((told[0] + told[2]) / 2, (told[1] + told[3]) / 2)
            x, y = rescale(middle, tuple(example["coordinate_scale"]), back=True)
            assert box[0] <= x <= box[2]
            assert box[1] <= y <= box[3]
