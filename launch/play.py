"""Plays a few episodes and prints them: what the policy sees, writes, and how sure it is.

  python launch/play.py --config=configs/alfworld.py --episodes=1 --split=valid_seen

`--config.seed` chooses the games, which are of all task types in turn. Trained weights are
played with `--config.model.path=FOLDER`.
"""

import functools

import jax
from absl import flags
from ml_collections import config_flags

from empg_jax import chat as chats, command_line, config as configs, lookup, sharding, transcript
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect
from empg_jax.rollout.tasks import TaskSampler

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_EPISODES = flags.DEFINE_integer("episodes", 1, "how many, each of another game", lower_bound=1)
_SPLIT = flags.DEFINE_string("split", None, "of which games; default: the first of evaluation")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "of the sampling; 0 is greedy; default: as in training", lower_bound=0.0
)


def main(argv):
  del argv
  config = _CONFIG.value
  environment = lookup.find("empg_jax.envs", config.env.name)
  arguments = configs.arguments(config.env)
  configs.check_arguments(environment.make, arguments, "config.env")
  configs.check_arguments(environment.tasks, config.tasks, "config.tasks", ["split"])
  configs.check_arguments(chats.load, config.chat, "config.chat", ["path"])
  configs.check_arguments(Policy, config.policy, "config.policy", ["model", "end_id"])
  games = environment.tasks(_SPLIT.value or config.evaluation.splits[0], **config.tasks)
  tasks = TaskSampler(games, config.seed, kind=environment.task_type).at(0, _EPISODES.value)
  home = folder.locate(config.model.path)
  chat = chats.load(home, **config.chat)
  model = folder.load(home, sharding.make_mesh(), dtype=config.model.dtype)
  policy = Policy(model, end_id=chat.end_id, **{**config.policy, "slots": 1})
  if _TEMPERATURE.value is not None:
    policy = policy.at(_TEMPERATURE.value)
  window = config.rollout.window
  prompt = functools.partial(environment.prompt, window=window) if window >= 0 else None
  for number, task in enumerate(tasks):
    (episode,) = collect(
        policy,
        chat,
        functools.partial(environment.make, **arguments),
        [task],
        group_size=1,
        max_turns=config.rollout.max_turns,
        invalid_penalty=config.rollout.invalid_penalty,
        prompt=prompt,
        key=jax.random.fold_in(jax.random.key(config.seed), number),
    )
    for line in transcript.lines(episode, k=config.algorithm.get("k", 1.0)):
      print(line, flush=True)


if __name__ == "__main__":
  command_line.run(main)
