// The list of episodes, and what narrows it.

const $ = (id) => document.getElementById(id);
const FILTERS = ["search", "type", "outcome", "group", "shortest", "longest"];

/** The filters as they stand. */
function readFilters() {
  const filters = Object.fromEntries(FILTERS.map((id) => [id, $(id).value]));
  filters.search = filters.search.trim().toLowerCase();
  return filters;
}

function matches(set, episode, filters) {
  return (
    (!filters.type || episode.type === filters.type) &&
    (!filters.outcome || episode.outcome === filters.outcome) &&
    (!filters.group || String(episode.group) === filters.group) &&
    (!filters.shortest || episode.turns >= Number(filters.shortest)) &&
    (!filters.longest || episode.turns <= Number(filters.longest)) &&
    (!filters.search || searchable(set, episode).includes(filters.search))
  );
}

/** Offers what the set has, and keeps what was chosen if the set has it. */
function offerChoices(set) {
  const tally = (key) => Map.groupBy(set.episodes, key);
  offer("type", "all", [...tally((e) => e.type)].sort(), ([type, of]) => [type, `${readable(type)} (${of.length})`]);
  offer("outcome", "all", [...tally((e) => e.outcome)], ([outcome, of]) => [outcome, `${outcome} (${of.length})`]);
  const groups = [...tally((e) => e.group)].sort(([a], [b]) => a - b);
  offer("group", "all", groups, ([group, of]) => [group, `${group}: ${wins(of)} of ${of.length} won`]);
}

function offer(id, all, entries, option) {
  const select = $(id);
  const chosen = select.value;
  select.replaceChildren(el("option", { value: "" }, all));
  for (const entry of entries) {
    const [value, label] = option(entry);
    select.append(el("option", { value }, label));
  }
  select.value = chosen;
  if (select.selectedIndex < 0) select.value = "";
}

function wins(episodes) {
  return episodes.filter((e) => e.outcome === "won").length;
}

function drawList(set, listed) {
  $("list").replaceChildren(...listed.map((episode) => listItem(set, episode)));
  const played = listed.filter((e) => e.outcome !== "aborted");
  const rate = played.length ? ` · ${((100 * wins(played)) / played.length).toFixed(1)}% won` : "";
  $("count").firstElementChild.textContent =
    listed.length === set.episodes.length
      ? plural(listed.length, "episode") + rate
      : `${listed.length} of ${plural(set.episodes.length, "episode")}${rate}`;
  $("clear").hidden = FILTERS.every((id) => !$(id).value);
}

function listItem(set, episode) {
  const place =
    episode.groupmates.length > 1
      ? `group ${episode.group}, member ${episode.index}`
      : ownName(set, episode);
  return el(
    "li",
    { role: "option", id: `item-${episode.at}`, "aria-selected": "false", "data-at": episode.at },
    outcomeMark(episode),
    el("span", { class: "type" }, readable(episode.type)),
    el("span", { class: "return" }, short(episode.reward)),
    el("span", { class: "place" }, place),
    sparkline(set, episode),
    el("span", { class: "turns" }, plural(episode.turns, "turn")),
  );
}

/** Marks the episode that is shown, and keeps it in sight. */
function markListed(episode) {
  $("list").querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
  const item = episode && $(`item-${episode.at}`);
  $("list").setAttribute("aria-activedescendant", item ? item.id : "");
  item?.setAttribute("aria-selected", "true");
  item?.scrollIntoView({ block: "nearest" });
}
