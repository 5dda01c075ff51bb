"""The least contrast between a visible text and what is behind it, by WCAG's formula."""

# Returns [contrast, element]; to be run in a page, whose first token gets the full heat.
LEAST = """
const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const over = (...colours) => {
  context.clearRect(0, 0, 1, 1);
  for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => {
  const linear = (x) => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const [r, g, b] = rgb.map((x) => linear(x / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const own = (e) => getComputedStyle(e).backgroundColor;
const behind = (e) => e ? [...behind(e.parentElement), own(e)] : ["white"];
document.querySelector(".token").style.setProperty("--heat", 1);
const seen = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
  && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
return seen.map((e) => {
  const back = behind(e);
  const [a, b] = [light(over(...back)), light(over(...back, getComputedStyle(e).color))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML];
}).sort((x, y) => x[0] - y[0])[0];
"""
