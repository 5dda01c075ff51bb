"""Trains a policy by reinforcement learning.

  python launch/train.py --config=configs/alfworld.py [--workdir=runs/alfworld]
  python launch/train.py --config=... --workdir=RUN --replay=RUN/skipped/step_7.npz

Prints a line a step and a table of success by task type at the end, and leaves in the
workdir metrics.jsonl, config.json, checkpoints/, and in episodes/ what was played in every
evaluation and before every checkpoint. Started again with the same workdir, it goes on from
the newest checkpoint. A batch whose update was not finite is kept in skipped/; --replay runs
it through the update from the newest checkpoint, prints the metrics and ends. --dry_run says
what the run would take, and ends.

On several hosts every one runs this command (launch/tpu/), with a workdir that all of them
see. Each plays all episodes on its own environments, so that all know what was said; the
devices of all of them share the sampling and the update.
"""

import contextlib
import functools
import pathlib
import time

import jax
from absl import flags
from ml_collections import config_flags

from empg_jax import algorithms, chat as chats, command_line, config as configs, console
from empg_jax import dry_run, episodes as records, hosts, live, lookup, metrics, settings
from empg_jax import sharding, workers
from empg_jax.checkpoint import Checkpointer
from empg_jax.generation import decode
from empg_jax.generation.policy import Policy
from empg_jax.models import casting, folder, lora
from empg_jax.models.value_head import ValueHead
from empg_jax.rollout.actor import collect
from empg_jax.rollout.dynamic import differing_groups
from empg_jax.rollout.pack import by_turn, count_rows, deal, pack
from empg_jax.rollout.tasks import TaskSampler
from empg_jax.rollout.unpack import unpack
from empg_jax.training import guard, replay, state as states
from empg_jax.training.step import train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/FILE.py[:PRESET]")
_REPLAY = flags.DEFINE_string("replay", None, "a batch that the run kept, to be updated on again")
_WORKDIR = flags.DEFINE_string("workdir", None, "its folder; runs/ENVIRONMENT if none is given")
_TENSORBOARD = flags.DEFINE_bool("tensorboard", True, "write WORKDIR/tensorboard too")
_WANDB = flags.DEFINE_string("wandb", None, "a project on Weights & Biases to show the run in")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "say what the run would take, and end")


def main(_):
  hosts.join()
  config = _CONFIG.value
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{config.env.name}")
  environment = lookup.find("empg_jax.envs", config.env.name)
  if _DRY_RUN.value:
    return describe(config, environment, workdir)
  settings.check(config, environment)
  kept = replay.load(_REPLAY.value) if _REPLAY.value else None
  chat = chats.load(folder.locate(config.model.path), **config.chat)
  mesh = sharding.make_mesh(**config.mesh)
  algorithm = algorithms.make(**config.algorithm.to_dict())
  tasks = TaskSampler(
      environment.tasks("train", **config.tasks), config.seed, kind=environment.task_type
  )
  configs.claim_workdir(str(workdir), config)
  jax.config.update("jax_compilation_cache_dir", str(workdir / "compiled"))
  checkpointer = Checkpointer(str(workdir / "checkpoints"), keep=config.checkpoint.keep)
  optimizer = states.make_optimizer(**config.optimizer)
  trained, frozen = prepare(config, mesh, algorithm)
  state = sharding.place(states.create(**trained, optimizer=optimizer), mesh)
  state, first = restore(checkpointer, state)
  update = make_update(config, frozen, algorithm, optimizer)
  if kept is not None:
    return update_again(update, state, kept, mesh)
  policy = make_policy(config, lora.merge(frozen["base"], state.model), chat, mesh)
  key = jax.random.key(config.seed)
  keep = functools.partial(records.write, workdir, text=chat.text, task_type=environment.task_type)
  with (
      environments(config, environment) as make_env,
      open_writer(config, workdir, first + bool(first)) as writer,
  ):
    play_tasks = functools.partial(play, config, chat, make_env, make_prompt(config, environment))
    evaluate_policy = functools.partial(evaluate, config, environment, play_tasks, key, keep)
    if not writer.rows:
      writer.write(0, evaluate_policy(policy, 0))
      report(config, writer.flush())
    for step in range(first + 1, config.num_steps + 1):
      begun = time.monotonic()
      groups = play_groups(config, tasks, policy, play_tasks, step, jax.random.fold_in(key, step))
      guard.check_aborted(groups.played, config.rollout.max_aborted, step)
      played = time.monotonic()
      order, rows = make_rows(config, groups.kept)
      with jax.set_mesh(mesh):
        state, updated = update(state, sharding.to_mesh(rows, mesh))
      watched = watch(step, updated, rows, groups.kept, writer.rows, workdir)
      guard.check_finite(int(state.skipped), step)
      policy.update(lora.merge(frozen["base"], state.model))
      timing = {"time/rollout_s": played - begun, "time/update_s": time.monotonic() - played}
      writer.write(step, summarize(groups), updated, watched)
      writer.write(step, throughput(groups.played, rows, timing))
      if step == config.num_steps or step % config.evaluation.every == 0:
        writer.write(step, evaluate_policy(policy, step))
      report(config, writer.flush())
      if step == config.num_steps or step % config.checkpoint.every == 0:
        keep_played(keep, step, groups.played, algorithm, order, rows)
        checkpointer.save(step, state)
  checkpointer.close()
  compare(config, writer.rows)


def describe(config, environment, workdir):
  """Says what the run would take, on machines that need not be here."""
  settings.check(config, environment, devices=dry_run.devices(config))
  preset = flags.FLAGS["config"].config_filename.partition(":")[2]
  hosts.say("\n".join(dry_run.lines(config, environment, workdir, preset)))


def prepare(config, mesh, algorithm):
  """What is trained, and what train_step takes beside it: a base, a KL penalty's reference."""
  model = folder.load(mesh=mesh, **config.model)
  value_head = ValueHead(model.config.hidden_size) if algorithm.value_loss else None
  trained = dict(model=model, value_head=value_head)
  if config.lora.rank:
    trained["model"] = lora.create(model, jax.random.key(config.seed), **config.lora)
    return trained, dict(base=model, reference=model if algorithm.uses_reference else None)
  if not algorithm.uses_reference:
    return trained, dict(base=None, reference=None)
  # A state gives its arrays away, so the reference has its own, in the type that it is used in.
  reference = states.copy(casting.cast(model, config.train.compute_dtype))
  return trained, dict(base=None, reference=reference)


def make_update(config, frozen, algorithm, optimizer):
  """train_step with all but the state and the batch."""
  temperature = config.policy.temperature
  given = dict(algorithm=algorithm, optimizer=optimizer, temperature=temperature)
  return functools.partial(train_step, **frozen, **given, **config.train)


def restore(checkpointer, state):
  """The newest checkpoint's state and step, or the given one and 0."""
  restored = checkpointer.restore(state)
  if restored is None:
    return state, 0
  hosts.say(f"going on from the checkpoint of step {restored.step}")
  return restored.state, restored.step


def update_again(update, state, batch, mesh):
  """Prints what the update says of a batch."""
  with jax.set_mesh(mesh):
    _, updated = update(state, sharding.to_mesh(batch, mesh))
  for name in sorted(updated):
    hosts.say(f"{name} {float(updated[name]):.7g}")


def environments(config, environment):
  """Gives, in `with`, a function without arguments that makes the config's environment."""
  arguments = configs.arguments(config.env)
  return workers.environments(environment.__name__, arguments, **config.workers)


@contextlib.contextmanager
def open_writer(config, workdir, first_step):
  """What takes the rows from `first_step` on; the first host alone writes and shows them."""
  alone = hosts.is_first()
  shown = dict(tensorboard=_TENSORBOARD.value and alone, wandb=_WANDB.value if alone else None)
  with (
      live.watchers(workdir, config.to_dict(), first_step, **shown) as watchers,
      metrics.MetricsWriter(workdir, first_step, keep=alone, watchers=watchers) as writer,
  ):
    yield writer


def make_prompt(config, environment):
  """What makes a turn a prompt of its own; None where an episode is one conversation."""
  if config.rollout.window < 0:
    return None
  return functools.partial(environment.prompt, window=config.rollout.window)


def make_policy(config, model, chat, mesh):
  """Decodes on the whole mesh on TPU or several hosts, and on each device apart elsewhere."""
  mesh = mesh if jax.default_backend() == "tpu" or jax.process_count() > 1 else None
  return Policy(model, end_id=chat.end_id, mesh=mesh, **config.policy)


def play(config, chat, make_env, prompt, policy, tasks, group_size, key, title):
  """Plays every task `group_size` times behind a progress bar."""
  with console.Progress(title, len(tasks) * group_size, "episodes") as progress:
    return collect(
        policy,
        chat,
        make_env,
        tasks,
        group_size=group_size,
        max_turns=config.rollout.max_turns,
        invalid_penalty=config.rollout.invalid_penalty,
        prompt=prompt,
        key=key,
        progress=progress.update if hosts.is_first() else None,
    )


def play_groups(config, tasks, policy, play_tasks, step, key):
  """The step's episodes; see rollout.dynamic. Later rounds have tasks and draws of their own."""
  rounds = max(config.rollout.max_rounds, 1)

  def play_round(number, count):
    drawn = tasks.at(step * rounds + number, config.rollout.tasks)[:count]
    at = jax.random.fold_in(key, number) if number else key
    title = f"rollout {step}" + f", round {number + 1}" * (number > 0)
    return play_tasks(policy, drawn, config.rollout.group_size, at, title)

  return differing_groups(play_round, config.rollout.tasks, config.rollout.max_rounds)


def make_rows(config, episodes):
  """What rows hold, an episode or, where turns are prompts of their own, a turn; and the batch."""
  count = config.rollout.tasks * config.rollout.group_size
  if config.rollout.window >= 0:
    episodes = by_turn(episodes)
    count = count_rows(len(episodes), count)
  order = deal(episodes, config.train.size, count)
  return order, pack(order, multiple=count, **config.pack)


def watch(step, *seen):
  """Tells what in an update calls for a look; see guard.watch."""
  watched, notes = guard.watch(step, *seen)
  for note in notes:
    hosts.say(f"  {note}")
  return watched


def summarize(groups):
  """What a step's episodes sum up to, those of dropped groups included."""
  summary = metrics.summarize(groups.played) | metrics.entropy_by_turn(groups.played)
  counts = {"groups_dropped": groups.dropped, "groups_short": groups.short}
  return metrics.prefixed("train", summary | counts)


def keep_played(keep, step, played, algorithm, order, rows):
  """Writes down a step's episodes, with what the algorithm made of those that are trained on."""
  if hosts.is_first():
    values = algorithms.explain(algorithm, rows, rows.behavior_entropy)
    keep(step, "train", played, values=unpack(values, rows.steps, order))


def evaluate(config, environment, play_tasks, key, keep, policy, step):
  """Plays the validation tasks once each, and writes that down: metrics under eval/SPLIT/."""
  results, when = {}, f"after step {step}" if step else "before training"
  for split in config.evaluation.splits:
    tasks = environment.tasks(split, **config.tasks)[: config.evaluation.tasks]
    at = policy.at(config.evaluation.temperature)
    episodes = play_tasks(at, tasks, 1, jax.random.fold_in(key, 0), f"{split} {when}")
    summary = metrics.summarize(episodes, environment.task_type)
    results |= metrics.prefixed(f"eval/{split}", summary)
    if hosts.is_first():
      keep(step, split, episodes)
  return results


def throughput(episodes, rows, timing):
  """The timing, tokens sampled and trained on a second, and how many programs were compiled."""
  sampled = sum(len(turn.reply) for episode in episodes for turn in episode.turns)
  return {
      **timing,
      "time/tokens_per_s": sampled / timing["time/rollout_s"],
      "time/trained_tokens_per_s": (rows.tokens != 0).sum() / timing["time/update_s"],
      "compile/count": train_step._cache_size() + decode.turn._cache_size(),
  }


def report(config, row) -> None:
  """Prints a finished row, and the evaluation in it if there is one."""
  if row["step"]:
    hosts.say(console.step_line(row, config.num_steps))
    for warning in console.warnings(row):
      hosts.say(f"  {warning}")
  shown = [
      f"{split} {row[f'eval/{split}/success']:.1%} (return {row[f'eval/{split}/return']:.3f})"
      for split in config.evaluation.splits
      if f"eval/{split}/success" in row
  ]
  if shown:
    hosts.say(f"  success after step {row['step']}: " + ", ".join(shown))


def compare(config, rows) -> None:
  """Prints success before and after training."""
  splits = config.evaluation.splits
  evaluated = [row for row in rows if f"eval/{splits[0]}/success" in row]
  hosts.say(console.success_table(evaluated[0], evaluated[-1], splits))


if __name__ == "__main__":
  sharding.use_cpu_devices()
  command_line.run(main)
