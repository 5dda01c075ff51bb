// What is shown now, and how one moves on.

const now = { set: null, data: null, listed: [], episode: null, step: -1 };

function chooseSet(name) {
  const before = now.episode;
  const newest = SETS.findLast((set) => set.name.endsWith(".train")) ?? SETS.at(-1);
  now.set = SETS.find((set) => set.name === name) ?? newest;
  now.data = now.set.read();
  $("set").value = now.set.name;
  offerChoices(now.data);
  $("scale").replaceChildren(...drawScale(now.data));
  // The same game, where it was played at both.
  const same = (e) => e.task === before?.task && e.index === before?.index;
  narrow(now.data.episodes.find(same) ?? null);
}

/** Lists what the filters let through; shows `wanted`, or what was shown, or the first. */
function narrow(wanted = now.episode) {
  const filters = readFilters();
  now.listed = now.data.episodes.filter((e) => matches(now.data, e, filters));
  drawList(now.data, now.listed);
  show(now.listed.includes(wanted) ? wanted : (now.listed[0] ?? null));
}

function show(episode, step = -1) {
  now.episode = episode;
  now.step = -1;
  $("token").textContent = "";
  if (episode) {
    drawEpisode(now.data, episode, go);
    markFound(readFilters().search);
  } else {
    drawNothing(now.data, now.listed);
  }
  markListed(episode);
  $("episode").scrollTop = 0;
  if (document.body.dataset.view === "episode") window.scrollTo(0, 0);
  if (step >= 0) goToStep(step);
  else address();
}

/** Moves on: to the list, by so many episodes, to an episode by its place, or to a step. */
function go(where, by) {
  if (where === "list") view("list");
  if (where === "step") goToStep(by);
  if (where === "at") {
    // Another member of the group is shown even where the filters hide it from the list.
    show(now.data.episodes[by]);
    $("episode").focus({ preventScroll: true });
  }
  if (where === "episode" && now.listed.length) {
    const at = now.listed.indexOf(now.episode) + by;
    const next = now.listed[Math.min(Math.max(at, 0), now.listed.length - 1)];
    if (next !== now.episode) show(next);
  }
}

function goToStep(step) {
  if (!now.episode?.turns) return;
  now.step = Math.min(Math.max(step, 0), now.episode.turns - 1);
  for (const marked of document.querySelectorAll(".current")) marked.classList.remove("current");
  const turn = $(`step-${now.step}`);
  turn.classList.add("current");
  document.querySelector(`.columns [data-turn="${now.step}"]`)?.classList.add("current");
  turn.focus({ preventScroll: true });
  turn.scrollIntoView({ block: "start" });
  address();
}

function nextMember() {
  const members = now.episode?.groupmates ?? [];
  if (members.length > 1) go("at", members[(members.indexOf(now.episode) + 1) % members.length].at);
}

/** On a narrow screen, the list or the episode. */
function view(name) {
  document.body.dataset.view = name;
}

/** Keeps what is shown in the address: #SET/GROUP-INDEX/STEP. */
function address() {
  const { set, episode, step } = now;
  const parts = [set.name, ...(episode ? [`${episode.group}-${episode.index}`] : []), ...(step >= 0 ? [step + 1] : [])];
  history.replaceState(null, "", "#" + parts.map(encodeURIComponent).join("/"));
}

function openAt(hash) {
  const [name, which, step] = hash.slice(1).split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return "";
    }
  });
  chooseSet(name);
  const episode = now.data.episodes.find((e) => `${e.group}-${e.index}` === which);
  if (!episode) return;
  view("episode");
  show(episode, step ? Number(step) - 1 || 0 : -1);
}

const KEYS = {
  j: () => go("episode", 1),
  k: () => go("episode", -1),
  ArrowRight: () => go("episode", 1),
  ArrowLeft: () => go("episode", -1),
  n: () => goToStep(now.step + 1),
  p: () => goToStep(now.step - 1),
  m: nextMember,
  t: () => document.body.classList.toggle("in-numbers"),
  "/": () => {
    view("list");
    $("search").focus();
    $("search").select();
  },
  "?": () => $("help").showModal(),
};
const IN_LIST = { ArrowDown: KEYS.j, ArrowUp: KEYS.k, Enter: () => view("episode") };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing) {
    if (event.key === "Escape") $("list").focus();
    return;
  }
  const inList = event.target === $("list") || event.target === document.body;
  const act = KEYS[event.key] ?? (inList ? IN_LIST[event.key] : undefined);
  if (!act) return;
  event.preventDefault();
  act();
}

function tell(event) {
  const label = event.target.closest?.(".token")?.dataset.label;
  if (label) $("token").textContent = label;
}

/** Opens the summary where there is room for it. */
function fold() {
  const first = document.querySelector("#summary details");
  if (first) first.open = !isNarrow();
}

function start() {
  fold();
  NARROW.addEventListener("change", () => {
    fold();
    show(now.episode, now.step);
  });
  offer("set", "", SETS, (set) => [set.name, set.label]);
  $("set").firstElementChild.remove();
  $("set").addEventListener("change", () => chooseSet($("set").value));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of FILTERS) $(id).addEventListener("input", () => narrow());
  $("clear").addEventListener("click", () => {
    for (const id of FILTERS) $(id).value = "";
    narrow();
  });
  $("list").addEventListener("click", (event) => {
    const item = event.target.closest("[data-at]");
    if (!item) return;
    view("episode");
    show(now.data.episodes[Number(item.dataset.at)]);
  });
  $("episode").addEventListener("pointerover", tell);
  $("episode").addEventListener("click", tell);
  $("open-help").addEventListener("click", KEYS["?"]);
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => openAt(location.hash));
  openAt(location.hash);
  if (now.step < 0) $("list").focus({ preventScroll: true });
}

start();
