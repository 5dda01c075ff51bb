"""Filters Deep Search's questions: removes those from which a policy would learn nothing.

  python launch/filter_questions.py --config=configs/deep_search.py --out=questions.jsonl

Each question of --split is played --direct times with a single action, so that only a policy that
knows the answer can give it, and --plays times as in training. As in the paper (arXiv 2509.09265),
a question is removed if it was answered at least once without a search, or every time with
searches. The file is for $DEEP_SEARCH_DATA/questions/train/, which
`--config.tasks.questions=files` reads.
"""

import collections

from absl import flags
import jax
from ml_collections import config_flags

from empg_jax import console, envs, workers
from empg_jax.cli import command_line
from empg_jax.config import config as configs
from empg_jax.distributed import sharding
from empg_jax.envs.deep_search import data, filtering
from empg_jax.generation.policy import Policy
from empg_jax.io import paths
from empg_jax.kernels import hardware
from empg_jax.models import folder
from empg_jax.rollout.actor import collect

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_OUT = command_line.define_path("out", None, "file for the questions that are kept", required=True)
_SPLIT = flags.DEFINE_string("split", "train", "the questions' split")
_DIRECT = flags.DEFINE_integer("direct", 5, "episodes of each without a search", lower_bound=1)
_PLAYS = flags.DEFINE_integer("plays", 8, "episodes of each as in training", lower_bound=1)
_QUESTIONS = flags.DEFINE_integer(
  "questions", None, "how many to play; default: all", lower_bound=1
)


def main(_):
  config = _CONFIG.value
  environment = envs.find(config.env.name)
  if config.env.name != "deep_search":
    raise ValueError(f"{config.env.name} asks no questions: give a config of deep_search.")
  settings = configs.arguments(config.env)
  configs.check_arguments(environment.make, settings, "config.env")
  given = ["module", "arguments"]
  configs.check_arguments(workers.environments, config.get("workers", {}), "config.workers", given)
  out = paths.of(_OUT.value)
  if out.is_dir():
    raise ValueError(f"--out={out} is a folder: name a file.")
  paths.make_folder(out.parent)
  tasks = environment.tasks(_SPLIT.value, **config.tasks)[: _QUESTIONS.value]
  home = folder.locate(config.model.path)
  chat = folder.chat(home, **environment.REPLY | config.chat.to_dict())
  model = folder.load(home, sharding.make_mesh(), dtype=config.model.dtype)
  spoken = dict(end_id=chat.end_id, vocab_size=chat.vocab_size)
  policy = Policy(model, **spoken, **config.policy)
  key = jax.random.key(config.seed)

  def won(title, plays, max_turns, **changes):
    """The number of wins of each task."""
    with (
      workers.environments(
        environment.__name__, settings | changes, **config.get("workers", {})
      ) as make_env,
      console.Progress(title, len(tasks) * plays, "episodes") as progress,
    ):
      episodes = collect(
        policy, chat, make_env, tasks, group_size=plays, max_turns=max_turns, key=key,
        progress=progress.update,
      )  # fmt: skip
    wins = collections.Counter(e.task for e in episodes if e.success)
    return [wins[task] for task in tasks]

  directly = won("without a search", _DIRECT.value, 1, max_actions=1)
  searching = won("as in training", _PLAYS.value, config.rollout.max_turns)
  verdicts = [filtering.verdict(*wins, _PLAYS.value) for wins in zip(directly, searching)]
  kept = [task for task, found in zip(tasks, verdicts) if found == filtering.KEPT]
  lines = map(filtering.line, map(data.question, kept))
  paths.write(out, "".join(lines), whole=False)
  counts = collections.Counter(verdicts)
  print(f"{out}: " + ", ".join(f"{counts[name]} {name}" for name in filtering.VERDICTS))


if __name__ == "__main__":
  hardware.prepare()
  command_line.run(main)
