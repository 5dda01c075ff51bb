"""Trains a policy by reinforcement learning.

  python launch/train.py --config=configs/alfworld.py --workdir=runs/alfworld

Prints a line a step and a table of success by task type at the end, and leaves in the
workdir metrics.jsonl, config.json and checkpoints/. Started again with the same workdir,
it goes on from the newest checkpoint.
"""

import functools
import pathlib
import time

import jax
from absl import flags
from ml_collections import config_flags

from empg_jax import algorithms, command_line, config as configs, console, metrics, sharding
from empg_jax.chat import Chat
from empg_jax.checkpoint import Checkpointer
from empg_jax.envs import alfworld
from empg_jax.generation import decode
from empg_jax.generation.policy import Policy
from empg_jax.models import folder
from empg_jax.rollout.actor import collect
from empg_jax.rollout.pack import deal, pack
from empg_jax.rollout.tasks import TaskSampler
from empg_jax.training import guard, microbatch, state as states
from empg_jax.training.step import train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_WORKDIR = flags.DEFINE_string("workdir", "runs/alfworld", "where the run is kept")

SPLITS = ("valid_seen", "valid_unseen")


def main(argv):
  del argv
  config = _CONFIG.value
  check(config)
  workdir = pathlib.Path(_WORKDIR.value)
  configs.claim_workdir(workdir, config)
  start = time.monotonic()

  home = folder.locate(config.model.folder)
  chat = Chat.load(home / "tokenizer.model")
  mesh = sharding.make_mesh(**config.mesh)
  model = sharding.replicate(folder.load(home), mesh)
  reference = model
  algorithm = algorithms.make(**config.algorithm.to_dict())
  optimizer = states.make_optimizer(**config.optimizer)
  state = states.create(jax.tree.map(lambda x: x.copy(), model), optimizer)

  checkpointer = Checkpointer(workdir / "checkpoints", keep=config.checkpoint.keep)
  restored = checkpointer.restore(state)
  first_step = 0
  if restored is not None:
    first_step, state = restored.step, restored.state
    print(f"going on from the checkpoint of step {first_step}", flush=True)

  key = jax.random.key(config.seed)
  rollout_key, evaluation_key = jax.random.split(key)
  policy = Policy(state.model, end_id=chat.end_id, **config.policy)
  make_env = functools.partial(alfworld.AlfWorld, **config.env)
  play = functools.partial(
      collect,
      chat=chat,
      make_env=make_env,
      max_turns=config.rollout.max_turns,
      invalid_penalty=config.rollout.invalid_penalty,
  )
  evaluate = functools.partial(evaluate_splits, config, play, key=evaluation_key)
  train_tasks = alfworld.tasks("train", games=config.env.games)
  tasks = TaskSampler(train_tasks, config.seed, kind=alfworld.task_type)
  step_fn = functools.partial(
      train_step,
      algorithm=algorithm,
      optimizer=optimizer,
      temperature=config.policy.temperature,
      **config.train,
  )
  rows = config.rollout.tasks * config.rollout.group_size

  with metrics.MetricsWriter(workdir, first_step + bool(first_step)) as writer:
    if not writer.rows:
      writer.write(0, evaluate(policy, "before training"))
      show_evaluation(writer.flush())
    for step in range(first_step + 1, config.num_steps + 1):
      begun = time.monotonic()
      with console.Progress(f"rollout {step}", rows, "episodes") as progress:
        episodes = play(
            policy,
            tasks=tasks.at(step, config.rollout.tasks),
            group_size=config.rollout.group_size,
            key=jax.random.fold_in(rollout_key, step),
            progress=progress.update,
        )
      played = time.monotonic()
      batch = sharding.to_mesh(pack(deal(episodes, config.train.size), multiple=rows, **config.pack), mesh)
      with jax.set_mesh(mesh):
        state, update = step_fn(state, batch, reference if algorithm.uses_reference else None)
      update = jax.device_get(update)
      policy.update(state.model)
      guard.check_finite(int(state.skipped), step)

      summary = metrics.summarize(episodes)
      timing = {
          "time/rollout_s": played - begun,
          "time/update_s": time.monotonic() - played,
          "time/tokens_per_s": summary["tokens"] / (played - begun),
          "time/total_s": time.monotonic() - start,
          "compile/count": train_step._cache_size() + decode.turn._cache_size(),
      }
      writer.write(step, metrics.prefixed("train", summary), update, timing)
      last = step == config.num_steps
      if last or step % config.evaluation.every == 0:
        writer.write(step, evaluate(policy, f"after step {step}"))
      row = writer.flush()
      print(console.step_line(row, config.num_steps), flush=True)
      show_evaluation(row)
      if last or step % config.checkpoint.every == 0:
        checkpointer.save(step, state)
  checkpointer.close()
  evaluated = [row for row in writer.rows if f"eval/{SPLITS[0]}/success" in row]
  print(console.success_table(evaluated[0], evaluated[-1], SPLITS))


def check(config) -> None:
  """Raises ValueError unless every section fits the function that it configures."""
  check_arguments = configs.check_arguments
  check_arguments(alfworld.AlfWorld, config.env, "config.env")
  check_arguments(Policy, config.policy, "config.policy", ["model", "end_id"])
  check_arguments(pack, config.pack, "config.pack", ["episodes", "multiple"])
  check_arguments(states.make_optimizer, config.optimizer, "config.optimizer")
  check_arguments(sharding.make_mesh, config.mesh, "config.mesh")
  given = ["state", "batch", "reference", "algorithm", "optimizer", "temperature"]
  check_arguments(train_step, config.train, "config.train", given)
  rows = config.rollout.tasks * config.rollout.group_size
  microbatch.check(rows, config.train.size, config.train.minibatches)
  sharding.check_rows(config.train.size, config.mesh.data)
  if config.policy.max_length > max(config.pack.lengths):
    raise ValueError(
        f"config.policy.max_length is {config.policy.max_length} and the longest of"
        f" config.pack.lengths {max(config.pack.lengths)}: an episode could be longer than every"
        " row; raise the one or lower the other."
    )


def evaluate_splits(config, play, policy, when, *, key):
  """Plays every validation game once; metrics under eval/SPLIT/."""
  results = {}
  policy = policy.at(config.evaluation.temperature)
  for split in SPLITS:
    tasks = alfworld.tasks(split, games=config.env.games)[: config.evaluation.games]
    with console.Progress(f"{split} {when}", len(tasks), "games") as progress:
      episodes = play(policy, tasks=tasks, group_size=1, key=key, progress=progress.update)
    summary = metrics.summarize(episodes, alfworld.task_type)
    results |= metrics.prefixed(f"eval/{split}", summary)
  return results


def show_evaluation(row) -> None:
  """Prints the success of an evaluated row."""
  shown = [f"{split} {row[f'eval/{split}/success']:.1%}" for split in SPLITS
           if f"eval/{split}/success" in row]  # fmt: skip
  if shown:
    print(f"  evaluation at step {row['step']}: success on " + ", on ".join(shown), flush=True)


if __name__ == "__main__":
  sharding.use_cpu_devices()
  command_line.run(main)
