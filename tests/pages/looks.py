"""What holds for every page, in a browser that shows it."""

# Text whose colour is less than 4.5 times as light or dark as what is behind it (WCAG AA), with that ratio.
FAINT = """() => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const own = node => [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
  const seen = node => !node.closest("svg, script, style") && own(node) && node.getClientRects().length;
  return [...document.querySelectorAll("body *")].filter(seen).map(node => {
    const [one, other] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    return [(one + .05) / (other + .05), node.outerHTML.slice(0, 120)];
  }).filter(([ratio]) => ratio < 4.5);
}"""
UNSAID = """() => [...document.querySelectorAll("[data-zh]")]
  .filter(node => node.textContent !== node.dataset.zh).map(node => node.outerHTML)"""


def look(page):
    """Fails where a page is cut off at 420 or 1400 pixels, has faint text, cannot be walked by keys, or does not speak
    Chinese after the switch. Leaves it in English."""
    before = page.viewport_size
    for width in (1400, 420):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(FAINT) == []
    if page.locator("article").count():
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.tagName") == "ARTICLE"
    english = page.inner_text("body")
    page.focus("#language")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate(UNSAID) == []
    assert page.inner_text("body") != english
    page.keyboard.press("Enter")
    assert page.inner_text("body") == english
    page.set_viewport_size(before)
