"""Plays a few episodes and prints them, with the entropy of each step.

  python launch/play.py --config=configs/alfworld.py --episodes=1 --split=valid_seen
  python launch/play.py --workdir=runs/alfworld --step=best
  python launch/play.py --env=webshop --agent=expert
  python launch/play.py --env=alfworld --agent=human --config.env.show_commands=True

`--env=NAME` is short for `--config=configs/NAME.py`. --workdir plays a checkpoint of a run, and
`--config.model.path=FOLDER` another model. `--config.seed` chooses the games, which alternate
between the task types. A human types actions; Ctrl-D gives up.
"""

import re
import sys

from absl import flags
import jax
from ml_collections import config_flags

from empg_jax import envs
from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.evaluation import players, policies
from empg_jax.rollout.tasks import TaskSampler
from empg_jax.tracking import transcript

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
flags.DEFINE_alias("env", "config")
_WORKDIR = command_line.define_path("workdir", None, "a run's folder, instead of --config")
_STEP = flags.DEFINE_string("step", None, "the checkpoint's, or best; default: the newest")
_AGENT = flags.DEFINE_enum("agent", "policy", [*players.AGENTS, "human"], "who plays")
_EPISODES = flags.DEFINE_integer("episodes", 1, "how many, each of a different game", lower_bound=1)
_SPLIT = flags.DEFINE_string(
  "split", None, "the games' split; default: the first of config.evaluation"
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", None, "of sampling, 0 is greedy; default: as in training", lower_bound=0.0
)


def main(argv):
  del argv
  config, checkpoint = policies.find(_CONFIG.value, _WORKDIR.value, _STEP.value)
  environment = envs.find(config.env.name)
  policies.check(config, environment)
  players.check(environment, _AGENT.value)
  games = environment.tasks(_SPLIT.value or config.evaluation.splits[0], **config.tasks)
  tasks = TaskSampler(games, config.seed, kind=environment.task_type).at(0, _EPISODES.value)
  if _AGENT.value == "policy":
    episodes = played_by_policy(config, environment, tasks, checkpoint)
  else:
    episodes = played_by_agent(config, environment, tasks)
  for episode in episodes:
    lines = list(transcript.lines(episode, k=config.algorithm.get("k", 1.0)))
    for line in lines[-1:] if _AGENT.value == "human" else lines:  # who saw the others
      print(line, flush=True)


def played_by_policy(config, environment, tasks, checkpoint):
  """Yields episodes of the checkpoint's or the config's model."""
  model, chat = policies.load(config, checkpoint)
  policy = policies.make(config, model, chat, episodes=1)
  if _TEMPERATURE.value is not None:
    policy = policy.at(_TEMPERATURE.value)
  for number, task in enumerate(tasks):
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    yield from policies.collect(config, environment, policy, chat, [task], key=key)


def played_by_agent(config, environment, tasks):
  """Yields episodes of an expert, a random agent or a human."""
  shown = {} if _AGENT.value == "human" else environment.PLAIN
  env = environment.make(**configs.arguments(config.env) | shown)
  for number, task in enumerate(tasks):
    agent = players.agent(environment, env, _AGENT.value, f"{config.seed}/{number}")
    yield players.play(env, agent, task, max_turns=config.rollout.max_turns)


if __name__ == "__main__":
  sys.argv[1:] = [re.sub(r"^--?env(?==|$)", "--config", argument) for argument in sys.argv[1:]]
  command_line.run(main, needs_config=False)
