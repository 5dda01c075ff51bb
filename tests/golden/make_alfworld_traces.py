"""Records alfworld_traces.json.xz: what the real TextWorld answers on generated games.

  pip install -e '.[textworld]'
  python tests/golden/make_alfworld_traces.py      # about two minutes

It plays a small game of each task type, three full ones, and some that are altered so
that they hold what generated games do not: things that are hot, clean, sliced or on from
the start, things in two places at once or inside other things, receptacles that share a
place. tests/envs/test_alfworld_golden.py holds the native engine to the recording.
"""

import collections
from collections.abc import Iterable
import json
import lzma
import os
import pathlib
import random
import re
import tempfile

from empg_jax.envs import alfworld
from empg_jax.envs.alfworld.game import parse_game

FILE = pathlib.Path(__file__).with_name("alfworld_traces.json.xz")
NUM_FULL = 3
NUM_ALTERED = 10
NUM_STEPS = 60  # of an episode, at most
VERBS = {
  "go",
  "open",
  "close",
  "take",
  "move",
  "examine",
  "use",
  "heat",
  "cool",
  "clean",
  "slice",
  "look",
  "inventory",
  "help",
  "dance",
}


def write_games(games: dict[str, dict], folder: pathlib.Path) -> None:
  """Writes games, by task name, so that `folder` can be ALFWORLD_DATA."""
  for task, game in games.items():
    path = folder / "json_2.1.1" / task.removeprefix("official/") / "game.tw-pddl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(game), encoding="utf-8")


def choose(rng: random.Random, commands: Iterable[str], plan: list[str]) -> str:
  """The plan's next command with a look around now and then, or all verbs by chance."""
  if rng.random() < 0.03:
    return rng.choice(["dance", "", "LOOK", " look ", "take apple 99 from fridge 1"])
  if plan and rng.random() < 0.6:
    return plan.pop(0)
  by_verb = collections.defaultdict(list)
  for command in sorted(commands):
    by_verb[command.split()[0]].append(command)
  quiet = sorted(by_verb.keys() & {"look", "inventory", "help", "examine"})
  acting = sorted(by_verb.keys() - set(quiet))
  verb = rng.choice(quiet if plan or rng.random() < 0.3 or not acting else acting)
  knives = [command for command in by_verb[verb] if "knife" in command]  # they are rare
  return rng.choice(knives if knives and rng.random() < 0.5 else by_verb[verb])


def alter(game: dict, rng: random.Random) -> dict:
  """The game with facts that generated games never have."""
  start, goal = (game["pddl_problem"].index(part) for part in ("(:init", "(:goal"))
  head, init, tail = (
    game["pddl_problem"][a:b] for a, b in ((0, start + 6), (start + 6, goal), (goal, None))
  )
  objects = re.findall(r"\(objectType (\S+) ", init)
  receptacles = re.findall(r"\(receptacleType (\S+) ", init)
  facts = []
  for obj in objects:
    other, place = rng.choice(objects), rng.choice(receptacles)
    candidates = [f"(is{s} {obj})" for s in ("Hot", "Cool", "Clean", "Sliced", "Toggled")]
    candidates += [f"({s} {obj})" for s in ("pickupable", "toggleable")]
    candidates += [f"(isReceptacleObject {obj})", f"(inReceptacle {obj} {place})"]
    candidates += [f"(inReceptacleObject {obj} {other})"] * (other != obj)
    facts += [f for f in candidates if rng.random() < 0.2 and f not in init]
  openable = re.findall(r"\(openable (\S+)\)", init)
  facts += [f"(opened {r})" for r in openable if rng.random() < 0.3]
  spots = re.findall(r"\(receptacleAtLocation \S+ (\S+)\)", init)
  moved = {old: rng.choice(spots) for old in spots if rng.random() < 0.2}
  if rng.random() < 0.5:  # begin in front of a receptacle
    moved[re.search(r"\(atLocation \S+ (\S+)\)", init).group(1)] = rng.choice(spots)
  for old, new in moved.items():
    init = re.sub(rf"(\((?:receptacleA|a)tLocation \S+ ){re.escape(old)}\)", rf"\g<1>{new})", init)
  problem = head + "\n" + "\n".join(facts) + init + tail
  return {**game, "pddl_problem": problem, "walkthrough": []}


def pick_games() -> dict[str, dict]:
  """The games to record, by task name."""
  rng = random.Random(0)
  picked = {}
  for games, count in ("small", None), ("full", NUM_FULL):
    tasks = alfworld.tasks("valid_seen", games=games)
    rng.shuffle(tasks)
    first = {alfworld.task_type(task): task for task in reversed(tasks)}
    for task in list(first.values())[:count]:
      picked[task.replace(games, "official", 1) + games] = alfworld.read_game(task)
  tasks = alfworld.tasks("train", games="small")
  for i, task in enumerate(rng.sample(tasks, NUM_ALTERED)):
    picked[f"{task.replace('small', 'official', 1)}altered{i}"] = alter(
      alfworld.read_game(task), rng
    )
  return picked


def slicing_plan(game: dict) -> list[str]:
  """Commands that slice something with a knife, where both lie open; else none."""
  parsed = parse_game(game)
  open_ones = [(obj, r) for obj, r in parsed.placed if r not in parsed.able["openable"]]
  knives = [(obj, r) for obj, r in open_ones if "knife" in parsed.types[obj]]
  sliceable = [(obj, r) for obj, r in open_ones if obj in parsed.able["sliceable"]]
  if not knives or not sliceable:
    return []
  (knife, there), (obj, here) = knives[0], sliceable[0]
  name = parsed.names
  return [
    f"go to {name[there]}",
    f"take {name[knife]} from {name[there]}",
    f"go to {name[here]}",
    f"slice {name[obj]} with {name[knife]}",
    "inventory",
    f"move {name[knife]} to {name[here]}",
    f"take {name[obj]} from {name[here]}",
    f"examine {name[obj]}",
    f"move {name[obj]} to {name[here]}",
  ]


def record(env: alfworld.AlfWorld, task: str, plan: list[str], rng: random.Random) -> dict:
  """Plays an episode to its end, or for NUM_STEPS."""
  observation = env.reset(task)
  commands = env.admissible_commands
  episode = {"task": task, "observation": observation, "commands": commands, "steps": []}
  for _ in range(NUM_STEPS):
    action = choose(rng, commands, plan)
    observation, reward, done, info = env.step(action)
    commands = info["admissible_commands"]
    episode["steps"].append([action, observation, reward, done, commands])
    if done:
      break
  return episode


def main() -> None:
  games = pick_games()
  episodes = []
  with tempfile.TemporaryDirectory() as folder:
    write_games(games, pathlib.Path(folder))
    os.environ["ALFWORLD_DATA"] = folder
    env = alfworld.AlfWorld(backend="textworld")
    for seed, (task, game) in enumerate(games.items()):
      plans = [slicing_plan(game) + game["walkthrough"]]
      if task.endswith("small"):
        plans = [[], list(game["walkthrough"])]
      for plan in plans:
        episodes.append(record(env, task, plan, random.Random(2 * seed + bool(plan))))
        print(f"{task}: {len(episodes[-1]['steps'])} steps", flush=True)
  answered = {
    step[0].split()[0]
    for e in episodes
    for step in e["steps"]
    if step[0] and (step[1] != "Nothing happens." or step[0] == "dance")
  }
  if not answered >= VERBS:
    raise SystemExit(f"no recorded step does {VERBS - answered}: try other seeds")
  text = json.dumps({"games": games, "episodes": episodes}, indent=0)
  FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
  print(f"{FILE}: {len(episodes)} episodes, {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
  main()
