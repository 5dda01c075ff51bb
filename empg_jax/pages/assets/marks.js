// What the page draws with: elements, numbers, and the colours of entropies.

/** An element with attributes, classes and text; nothing is ever read as HTML. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A number with a real minus; `signed`: with a plus too. What was not finite is null. */
function fixed(x, digits = 3, signed = false) {
  if (x === null) return "not finite";
  const text = Math.abs(x).toFixed(digits);
  if (Number(text) === 0) return text;
  return (x < 0 ? "−" : signed ? "+" : "") + text;
}

/** A reward: as many digits as it has, three at most. */
function short(x) {
  const size = Number(Math.abs(x).toFixed(3));
  return (x < 0 && size ? "−" : "") + String(size);
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

const OUTCOMES = { won: "✓", lost: "✗", aborted: "!" };

function outcomeMark(episode) {
  return el("span", { class: `mark ${episode.outcome}`, title: episode.outcome }, OUTCOMES[episode.outcome]);
}

/** A token on the colour of its entropy; `parts` are its text in pieces, as [text, is markup]. */
function token(set, id, parts, nats, isLast) {
  const text = parts.map(([part]) => part).join("");
  const span = el("span", { class: "token", "data-nats": nats !== null && nats < 0.005 ? "" : fixed(nats, 2) });
  span.style.setProperty("--heat", share(nats, set.tops.token).toFixed(3));
  for (const [part, isMarkup] of parts) {
    const shown = part.replaceAll("\n", "↵\n");
    span.append(isMarkup ? el("span", { class: "markup" }, shown) : shown);
  }
  if (!text) span.append(el("span", { class: "nothing" }, isLast ? "■" : "·"));
  const name = text ? `“${text.replaceAll("\n", "↵")}”` : isLast ? "end of the reply" : "part of a character";
  span.dataset.label = `${name} · id ${id} · ${fixed(nats)} nats`;
  return span;
}

const MARKUP = /<\/?\w+>|<\|\w+\|>/g; // <think>, </action>, <|im_end|>

/** The texts of a reply's tokens, each cut where markup begins and ends: [[text, is markup], ...]. */
function withMarkup(texts) {
  const spans = Array.from(texts.join("").matchAll(MARKUP), (m) => [m.index, m.index + m[0].length]);
  let from = 0;
  return texts.map((text) => {
    const to = from + text.length;
    const cuts = [...new Set([from, ...spans.flat().filter((at) => from < at && at < to), to])];
    const parts = cuts.slice(1).map((end, part) => [
      text.slice(cuts[part] - from, end - from),
      spans.some(([begin, over]) => begin <= cuts[part] && end <= over),
    ]);
    from = to;
    return text ? parts : [];
  });
}

/** The scale that the tokens' colours are read by. */
function drawScale(set) {
  const top = set.tops.token;
  const strip = (from, to) => {
    const made = el("span", { class: "strip", "aria-hidden": "true" });
    for (let part = from; part <= to; part++) {
      const cell = el("span");
      cell.style.setProperty("--heat", part / 10);
      made.append(cell);
    }
    return made;
  };
  const middle = Number((top / 4).toPrecision(2)); // of the square root
  return [
    el("span", {}, "token entropy 0"), strip(0, 5), el("span", {}, String(middle)), strip(5, 10),
    el("span", {}, `≥ ${top} nat${top === 1 ? "" : "s"}`),
  ];
}

const SVG = "http://www.w3.org/2000/svg";

/** A line of the step entropies, for a glance. */
function sparkline(set, episode) {
  const h = episode.values.entropy ?? [];
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  const at = (x, turn) => `${((100 * (turn + 0.5)) / h.length).toFixed(1)} ${(19 - 18 * share(x, set.tops.entropy)).toFixed(1)}`;
  path.setAttribute("d", h.length ? "M" + h.map(at).join("L") : "");
  svg.append(path);
  return svg;
}

/** Marks what was searched for, where the browser can mark without touching the text. */
function markFound(words) {
  if (!window.CSS?.highlights) return;
  const ranges = words ? [...document.querySelectorAll(".observation, .reply")].flatMap((shown) => found(shown, words)) : [];
  CSS.highlights.set("found", new Highlight(...ranges));
}

/** The ranges of an element, over whatever tokens, that hold these words. */
function found(shown, words) {
  const walker = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const text = nodes.map((node) => node.data).join("").toLowerCase();
  const ranges = [];
  for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
    const range = new Range();
    range.setStart(...place(nodes, at));
    range.setEnd(...place(nodes, at + words.length));
    ranges.push(range);
  }
  return ranges;
}

/** The node that a character of the joined text lies in, and where in it. */
function place(nodes, at) {
  const node = nodes.find((node) => {
    if (at <= node.length) return true;
    at -= node.length;
    return false;
  });
  return [node ?? nodes.at(-1), node ? at : nodes.at(-1).length];
}
