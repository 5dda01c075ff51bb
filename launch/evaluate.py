"""Evaluates an agent on a split: success, return, turns by task type, with intervals.

  python launch/evaluate.py --workdir=runs/alfworld --split=valid_unseen --json=trained.json
  python launch/evaluate.py --workdir=runs/alfworld --step=25 --seeds=3
  python launch/evaluate.py --workdir=runs/alfworld --step=best
  python launch/evaluate.py --config=configs/alfworld.py --model=FOLDER --json=start.json
  python launch/evaluate.py --config=configs/alfworld.py --agent=expert
  python launch/evaluate.py --workdir=runs/alfworld --keep=runs/evaluated
  python launch/evaluate.py --compare start.json trained.json

--compare compares the other evaluations with the first one, over the tasks and seeds that both
played. launch/pages.py shows the episodes that --keep writes.
"""

import dataclasses

from absl import flags
import jax
from ml_collections import config_flags

from empg_jax import console, envs
from empg_jax.cli import command_line
from empg_jax.evaluation import players, policies, records, statistics, tables
from empg_jax.evaluation.tasks import of_all_types
from empg_jax.io import words
from empg_jax.kernels import hardware
from empg_jax.models import folder
from empg_jax.tracking import episode_files

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_WORKDIR = command_line.define_path("workdir", None, "a run's folder, instead of --config")
_STEP = flags.DEFINE_string("step", None, "the checkpoint's, or best; default: the newest")
_MODEL = command_line.define_path("model", None, "the model's folder; default: that of the config")
_AGENT = flags.DEFINE_enum("agent", "policy", players.AGENTS, "who plays")
_SPLIT = flags.DEFINE_string(
  "split", None, "the tasks' split; default: the first of config.evaluation"
)
_EPISODES = flags.DEFINE_integer(
  "episodes", 0, "tasks of all types in turn; 0: the whole split", lower_bound=0
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", None, "of sampling, 0 is greedy; default: config.evaluation's", lower_bound=0.0
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "plays of each task", lower_bound=1)
_JSON = command_line.define_path("json", None, "file to write every episode and the summary to")
_KEEP = command_line.define_path(
  "keep", None, "folder to write the episodes to, for launch/pages.py"
)
_COMPARE = flags.DEFINE_bool("compare", False, "compare the given files")


def main(argv):
  if _COMPARE.value:
    return compare(argv[1:])
  if len(argv) > 1:
    raise ValueError(f"'{argv[1]}' is no flag: files are given to --compare alone.")
  command_line.check_file(_JSON.value)
  config, checkpoint = find_config()
  environment = envs.find(config.env.name)
  policies.check(config, environment)
  players.check(environment, _AGENT.value)
  split = _SPLIT.value or config.evaluation.splits[0]
  tasks = environment.tasks(split, **config.tasks)
  if 0 < _EPISODES.value < len(tasks):
    tasks = of_all_types(tasks, environment.task_type, _EPISODES.value)
  collect, agent, text = make_agent(config, environment, checkpoint, len(tasks))
  episodes, whole = [], []
  with console.Progress(split, len(tasks) * _SEEDS.value, "episodes") as progress:
    for seed in range(_SEEDS.value):
      played = collect(tasks, seed=seed, progress=progress.update)
      episodes += [records.record(episode, environment, seed) for episode in played]
      whole += [dataclasses.replace(episode, index=seed) for episode in played]
  summary = statistics.summarize(episodes)
  many = f"{_SEEDS.value} x {words.count(len(tasks), 'episode')}"
  print(f"{agent} on {config.env.name}, {split}: {many}")
  print(tables.results(summary))
  if _KEEP.value:
    step = int(checkpoint.name) if checkpoint else 0
    print(
      episode_files.write(
        _KEEP.value, step, split, whole, text=text, task_type=environment.task_type
      )
    )
  if _JSON.value:
    about = dict(environment=config.env.name, split=split, tasks=config.tasks.to_dict())
    about |= dict(agent=agent, seeds=_SEEDS.value, max_turns=config.rollout.max_turns)
    by_name = {kind: _plain(part) for kind, part in summary.items()}
    records.write(_JSON.value, about | dict(summary=by_name, episodes=episodes))


def find_config():
  """The config, and the folder of the checkpoint if a run's model plays."""
  config, checkpoint = policies.find(_CONFIG.value, _WORKDIR.value, _STEP.value)
  if _MODEL.value and checkpoint:
    raise ValueError("--model plays a folder with --config, and --workdir a checkpoint of a run.")
  if _MODEL.value:
    config.model.path = _MODEL.value
  return config, checkpoint


def make_agent(config, environment, checkpoint, count):
  """A function that plays tasks with a seed, the agent's name, and the text of its ids."""
  if _AGENT.value != "policy":

    def collect(tasks, seed, progress):
      return players.collect(config, environment, _AGENT.value, tasks, seed=seed, progress=progress)

    return collect, _AGENT.value, lambda ids: ""
  model, chat = policies.load(config, checkpoint)
  temperature = _TEMPERATURE.value
  temperature = config.evaluation.temperature if temperature is None else temperature
  policy = policies.make(config, model, chat, episodes=count).at(temperature)

  def collect(tasks, seed, progress):
    return policies.collect(
      config, environment, policy, chat, tasks, key=jax.random.key(seed), progress=progress
    )

  played = checkpoint or folder.locate(config.model.path)
  return collect, f"{played} at temperature {temperature:g}", chat.text


def compare(paths):
  """Prints how each file's evaluation compares with that of the first file."""
  if len(paths) < 2:
    raise ValueError("--compare takes two files of --json or more: --compare A.json B.json")
  evaluations = [records.read(path) for path in paths]
  records.check_comparable(paths, evaluations)
  for path, evaluation in zip(paths, evaluations):
    print(f"{path}: {evaluation['agent']}, {evaluation['environment']} {evaluation['split']}")
  print(tables.comparison(paths, [evaluation["episodes"] for evaluation in evaluations]))


def _plain(part):
  """A summary's part for JSON."""
  return {
    name: value._asdict() if isinstance(value, statistics.Estimate) else value
    for name, value in part.items()
  }


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main, needs_config=False, takes_files=True)
