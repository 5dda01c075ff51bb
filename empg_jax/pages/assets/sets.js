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
  return set;
}

function outcomeOf(episode) {
  if (episode.ended === "aborted") return "aborted";
  return episode.success ? "won" : "lost";
}

/** Where the set's scales end, so that all of its episodes are drawn alike. */
function tops(episodes) {
  const tokens = Float64Array.from(episodes.flatMap((e) => e.entropies.flat())).sort();
  const of = (name) => episodes.flatMap((e) => e.values[name] ?? []);
  const largest = (name) => of(name).reduce((top, x) => Math.max(top, Math.abs(x)), 1e-6);
  return {
    token: roundUp((tokens[Math.floor(0.995 * tokens.length)] ?? 0) / 1000),
    entropy: largest("entropy"),
    advantage: largest("advantage"),
  };
}

/** The next of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... */
function roundUp(x) {
  const power = 10 ** Math.floor(Math.log10(Math.max(x, 0.05)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= x - 1e-9);
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

/** "heat_then_place: two words" of a task's type. */
function readable(type) {
  return type.replaceAll("_", " ");
}
