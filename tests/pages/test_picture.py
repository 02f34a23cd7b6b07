"""Boxes drawn from answers lie where the DOM says, whatever the coordinate space and the screen's size."""

import json

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from overlay.action.action import parse_action
from overlay.action.space import Space, rescale_action
from overlay.pages.picture import drawn
from tests.conftest import CHROMIUM, needs_chromium


@needs_chromium
@pytest.mark.integration
@pytest.mark.parametrize("size", [(360, 640), (1080, 2400), (1368, 2706), (800, 600)])
@pytest.mark.parametrize("space", ["original", "resized", "norm1000"])
def test_drawn_boxes_lie_on_the_doms(size, space, tmp_path):
    """The DOM's box of a button, said in the model's coordinates, is drawn on the screenshot where the button is."""
    html = "<body style='margin:0'><button style='position:absolute;left:23%;top:41%;width:31%;height:9%'>x</button>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_content(html)
        box = page.locator("button").bounding_box()
        page.screenshot(path=str(tmp_path / "screen.png"))
        browser.close()
    edges = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    gold = json.dumps({"action_type": "click", "action_parameter": {"click": ",".join(f"{v:.0f}" for v in edges)}})
    scale = Space(space, 3136, 401_408).scale(*size)
    action = parse_action(rescale_action(gold, scale))  # as a model that is right would answer
    image = drawn(str(tmp_path / "screen.png"), action, scale)
    both = drawn(str(tmp_path / "screen.png"), None, golds=[parse_action(gold), parse_action(gold)])
    assert both.getpixel((round(sum(edges[::2]) / 2), round(edges[1]))) == (26, 143, 60)  # gold over what is right too
    blue = Image.new("RGB", (1, 1), "#1f5fd1").getpixel((0, 0))
    columns = [x for x in range(size[0]) for y in [round(sum(edges[1::2]) / 2)] if image.getpixel((x, y)) == blue]
    lines = [y for y in range(size[1]) for x in [round(sum(edges[::2]) / 2)] if image.getpixel((x, y)) == blue]
    slack = max(size) / 300 + max(size) / 1000 + 2  # the pen's width, and integers of a coarser space
    for found, first, last in ((columns, edges[0], edges[2]), (lines, edges[1], edges[3])):
        assert abs(min(found) - first) <= slack
        assert abs(max(found) - last) <= slack
