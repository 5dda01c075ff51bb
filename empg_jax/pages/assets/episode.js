// One episode, turn by turn.

// The values of a step: [name, label, whether it has a sign]; the page leaves out missing ones.
const VALUES = [
  ["entropy", "H", false],
  ["normal_entropy", "H normalised", false],
  ["g", "g", false],
  ["bonus", "future bonus", true],
  ["base", "A", true],
  ["advantage", "A final", true],
];
const LONG = 14; // lines of an observation that is folded
const NARROW = window.matchMedia("(max-width: 760px)"); // as in page.css

function isNarrow() {
  return NARROW.matches;
}

function drawEpisode(set, episode, go) {
  const turns = episode.rewards.map((_, turn) => drawTurn(set, episode, turn));
  $("episode").replaceChildren(
    ...[heading(episode, go), notice(set, episode), overview(set, episode, go), ...turns].filter(Boolean),
  );
}

function drawNothing(set, listed) {
  const message =
    set.episodes.length === 0
      ? ["No episodes", "No episode was played here."]
      : ["No match", "No episode of this set matches the filters. Loosen or clear them."];
  if (listed.length === 0) $("episode").replaceChildren(el("div", { class: "nothing-here" }, el("h2", {}, message[0]), el("p", {}, message[1])));
}

function heading(episode, go) {
  const facts = [
    ["return", short(episode.reward)],
    ["turns", String(episode.turns)],
    ["ended", { done: "by the environment", turns: "out of turns", length: "out of context", aborted: "aborted" }[episode.ended] ?? episode.ended],
    ...(episode.values.entropy ? [["mean H", fixed(mean(episode.values.entropy))]] : []),
    ...Object.entries(episode.info).filter(([name]) => name !== "won" && name !== "error").map(([name, x]) => [name.replaceAll("_", " "), typeof x === "number" ? short(x) : String(x)]),
  ];
  return el(
    "header",
    { class: "heading" },
    el(
      "div",
      { class: "steps-between" },
      el("button", { type: "button", class: "back", onclick: () => go("list") }, "‹ Episodes"),
      el("button", { type: "button", onclick: () => go("episode", -1), "aria-keyshortcuts": "k" }, "‹ previous"),
      el("button", { type: "button", onclick: () => go("episode", 1), "aria-keyshortcuts": "j" }, "next ›"),
    ),
    el("h2", {}, outcomeMark(episode), " ", readable(episode.type), el("span", { class: `outcome ${episode.outcome}` }, episode.outcome)),
    el("p", { class: "task" }, episode.task),
    el("dl", { class: "facts" }, ...facts.map(([name, x]) => el("div", {}, el("dt", {}, name), el("dd", {}, x)))),
  );
}

/** Null if one of them is. */
function mean(values) {
  if (values.includes(null)) return null;
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

/** A warning above an episode that was aborted or not trained on; null for all others. */
function notice(set, episode) {
  if (episode.outcome === "aborted") {
    return el(
      "p",
      { class: "notice", role: "note" },
      el("strong", {}, "Aborted: "),
      String(episode.info.error ?? "no reason was given"),
      episode.turns ? " The turns before that are below;" : " No turn was played;",
      " the episode counts in no figure and is not trained on.",
    );
  }
  const advantages = set.episodes.some((e) => e.values.advantage); // those of PPO are not written
  if (set.split === "train" && advantages && !episode.values.advantage) {
    return el("p", { class: "notice", role: "note" }, "Not trained on: all members of its group had the same return, so the group was dropped.");
  }
  return null;
}

/** The chart of the steps, and the group beside it. */
function overview(set, episode, go) {
  return el("div", { class: "overview" }, ...[chart(set, episode, go), groupTable(episode, go)].filter(Boolean));
}

/** The table of the group's members; null for an episode without a group. */
function groupTable(episode, go) {
  if (episode.groupmates.length < 2) return null;
  const of = (name, member, digits, signed) => (member.values[name]?.length ? fixed(mean(member.values[name]), digits, signed) : "");
  const rows = episode.groupmates.map((member) =>
    el(
      "tr",
      member === episode ? { "aria-current": "true" } : {},
      el("th", { scope: "row" }, el("button", { type: "button", onclick: () => go("at", member.at) }, outcomeMark(member), ` member ${member.index}`)),
      el("td", {}, short(member.reward)),
      el("td", {}, String(member.turns)),
      el("td", {}, of("entropy", member)),
      el("td", { class: sign(member.values.advantage && mean(member.values.advantage)) }, of("advantage", member, 3, true)),
    ),
  );
  const heads = ["", "return", "turns", "mean H", "mean A final"];
  return el(
    "details",
    { class: "group", open: !isNarrow() },
    el("summary", {}, `Group ${episode.group}: ${wins(episode.groupmates)} of ${plural(episode.groupmates.length, "member")} won`),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...rows)),
  );
}

function sign(x) {
  return x > 0 ? "plus" : x < 0 ? "minus" : "";
}

/** A column for each step: its entropy above, and its final advantage below. */
function chart(set, episode, go) {
  const { entropy, advantage } = episode.values;
  if (!entropy?.length) return null;
  const columns = entropy.map((h, turn) => {
    const a = advantage?.[turn];
    const title = `step ${turn + 1}: H ${fixed(h)}` + (a === undefined ? "" : `, A final ${fixed(a, 3, true)}`);
    const column = el("button", { type: "button", title, "aria-label": title, "data-turn": turn, onclick: () => go("step", turn) }, bar("entropy", share(h, set.tops.entropy)));
    if (a !== undefined) column.append(bar(`advantage ${sign(a)}`, share(Math.abs(a), set.tops.advantage)));
    return column;
  });
  const scales = [`above: H of each step, up to ${fixed(set.tops.entropy)} nats`];
  if (advantage) scales.push(`below: A final, up to ±${fixed(set.tops.advantage, 2)}`);
  scales.push("heights by the square root");
  return el("figure", { class: advantage ? "chart" : "chart single" }, el("div", { class: "columns" }, ...columns), el("figcaption", {}, ...scales.map((text) => el("span", {}, text))));
}

function bar(name, height) {
  const made = el("span", { class: `bar ${name}` });
  made.style.setProperty("--share", height.toFixed(3));
  return made;
}

function drawTurn(set, episode, turn) {
  const title = `step-${turn}-title`;
  return el(
    "article",
    { class: "turn", id: `step-${turn}`, tabindex: "-1", "aria-labelledby": title },
    el("h3", { id: title }, el("span", { class: "word" }, "step "), String(turn + 1)),
    el("div", { class: "said" }, ...seen(observation(set, episode, turn)), spoken(set, episode, turn), played(set, episode, turn)),
    numbers(episode, turn),
  );
}

/** The observation; all but the beginning of a long one is folded away. */
function seen(text) {
  const shown = el("p", { class: "observation" }, text);
  const lines = text.split("\n").length;
  if (lines <= LONG) return [shown];
  shown.classList.add("folded");
  const more = el("button", { type: "button", class: "more", "aria-expanded": "false" }, `all ${lines} lines`);
  more.addEventListener("click", () => {
    const folded = shown.classList.toggle("folded");
    more.textContent = folded ? `all ${lines} lines` : "fewer lines";
    more.setAttribute("aria-expanded", String(!folded));
  });
  return [shown, more];
}

function spoken(set, episode, turn) {
  const pieces = episode.pieces[turn].map((piece) => set.pieces[piece]);
  const parts = withMarkup(pieces.map(([, text]) => text));
  const tokens = pieces.map(([id], at) => {
    const thousandths = episode.entropies[turn][at];
    return token(set, id, parts[at], thousandths === null ? null : thousandths / 1000, at === pieces.length - 1);
  });
  return el("p", { class: "reply" }, ...tokens);
}

function played(set, episode, turn) {
  const command = action(set, episode, turn);
  return command === null ? el("p", { class: "action invalid" }, "no valid action") : el("p", { class: "action" }, command);
}

function numbers(episode, turn) {
  const rows = VALUES.map(([name, label, signed]) => [name, label, episode.values[name]?.[turn], signed])
    .filter(([, , x]) => x !== undefined && x !== null)
    .map(([name, label, x, signed]) => row(name, label, fixed(x, 3, signed), signed ? sign(x) : ""));
  const reward = episode.rewards[turn];
  const all = el("dl", {}, ...rows, row("reward", "reward", short(reward), sign(reward)));
  return el("details", { class: "numbers", open: !isNarrow() }, el("summary", {}, ...brief(episode, turn)), all);
}

/** The main numbers of a step, in one line. */
function brief(episode, turn) {
  const shown = VALUES.filter(([name]) => ["entropy", "g", "advantage"].includes(name))
    .map(([name, label, signed]) => [label, episode.values[name]?.[turn], signed])
    .filter(([, x]) => x !== undefined && x !== null);
  const texts = shown.map(([label, x, signed]) => `${label} ${fixed(x, 3, signed)}`);
  return [...texts, `reward ${short(episode.rewards[turn])}`].map((text) => el("span", {}, text));
}

function row(name, label, text, tone) {
  return el("div", { class: name }, el("dt", {}, label), el("dd", { class: tone, "data-value": name }, text));
}
