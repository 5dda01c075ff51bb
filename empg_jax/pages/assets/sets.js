"use strict";

// Reading the data: see compact.py for what a set holds.

/** The sets of this page by name, in order; each is read when it is first asked for. */
const SETS = Array.from(document.querySelectorAll("script.set"), (script) => ({
  name: script.dataset.name,
  label: script.dataset.label,
  read: once(() => readSet(script.textContent)),
}));

function once(make) {
  let made;
  return () => (made ??= make());
}

function readSet(text) {
  const set = JSON.parse(text);
  set.episodes.forEach((episode, at) => {
    episode.at = at;
    episode.outcome = outcomeOf(episode);
    episode.turns = episode.rewards.length;
    episode.groupmates = [];
  });
  for (const members of Map.groupBy(set.episodes, (e) => e.group).values()) {
    for (const episode of members) episode.groupmates = members;
  }
  set.tops = tops(set.episodes);
  set.prefix = commonPrefix(set.episodes.map((e) => e.task));
  return set;
}

function outcomeOf(episode) {
  if (episode.ended === "aborted") return "aborted";
  return episode.success ? "won" : "lost";
}

/** Where the set's scales end: few values lie beyond, and all of its episodes are drawn alike. */
function tops(episodes) {
  const of = (name) => episodes.flatMap((e) => e.values[name] ?? []);
  return {
    token: roundUp(quantile(episodes.flatMap((e) => e.entropies.flat()), 0.95) / 1000),
    entropy: Math.max(quantile(of("entropy"), 0.95), 0.001),
    advantage: Math.max(quantile(of("advantage"), 0.95), 0.001),
  };
}

/** What that share of the absolute values does not exceed. */
function quantile(values, share) {
  const sorted = Float64Array.from(values, Math.abs).sort();
  return sorted.at(Math.ceil(share * (sorted.length - 1))) ?? 0;
}

/** The next of ..., 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, ...; 0.01 at least. */
function roundUp(x) {
  const power = 10 ** Math.floor(Math.log10(Math.max(x, 0.01)));
  const found = [1, 1.5, 2, 3, 5, 7, 10].find((factor) => factor * power >= x - 1e-9);
  return Number((power * found).toPrecision(2));
}

/** How much of the full height or colour a value has: by the square root, which shows small ones. */
function share(x, top) {
  return Math.sqrt(Math.min(Math.max(x / top, 0), 1));
}

function observation(set, episode, turn) {
  return episode.observations[turn].map((line) => set.lines[line]).join("\n");
}

function action(set, episode, turn) {
  return set.lines[episode.actions[turn]] ?? null;
}

function reply(set, episode, turn) {
  return episode.pieces[turn].map((piece) => set.pieces[piece][1]).join("");
}

/** All that can be searched in an episode, in lower case. */
function searchable(set, episode) {
  if (episode.text === undefined) {
    const turns = episode.rewards.flatMap((_, turn) => [
      observation(set, episode, turn),
      reply(set, episode, turn),
    ]);
    const words = [episode.task, episode.type, ...Object.values(episode.info), ...turns];
    episode.text = words.join("\n").toLowerCase();
  }
  return episode.text;
}

/** What all of these begin with, up to a slash. */
function commonPrefix(names) {
  let prefix = names[0] ?? "";
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.slice(0, prefix.lastIndexOf("/") + 1);
}

/** What tells a task from others of its set and its type. */
function ownName(set, episode) {
  const name = episode.task.slice(set.prefix.length);
  const own = name.startsWith(episode.type) ? name.slice(episode.type.length) : name;
  return own.replace(/^[^\p{L}\p{N}]+/u, "") || name;
}

/** A task's type in words. */
function readable(type) {
  return type.replaceAll("_", " ");
}
